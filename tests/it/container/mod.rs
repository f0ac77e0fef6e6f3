//! `mpimg run`: containers of a small image, looked at from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test may panic and speak")]

mod as_product;
mod background;
mod docker_words;
mod fixture;
mod foreground;
mod full_disk;
mod isolations;
mod plain_users;
