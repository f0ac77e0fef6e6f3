//! RUN in its sandbox: unpacking, each rung of the ladder, what a command sees, and what it leaves behind.

mod layers;
mod mounts;
mod rootfs;
mod run;
mod rungs;
mod unpack;
mod unpack_hostile;
