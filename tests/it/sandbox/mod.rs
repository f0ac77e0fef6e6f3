//! RUN in its sandbox: each rung of the ladder, what a command sees, and what it leaves behind.

mod rootfs;
mod run;
