//! From bytes to lines of one instruction each: directives, comments, continuations, heredocs,
//! flags and words.
//!
//! Nothing here knows what an instruction means, except that some take heredocs.

mod decode;
mod directive;
mod flags;
mod heredoc;
mod lines;
mod words;

pub(super) use decode::decode;
pub(super) use directive::Check;
pub(super) use flags::{FlagKind, Flags};
pub(super) use heredoc::{Heredoc, Marker};
pub(super) use lines::{Line, Lines, read_lines};
pub(super) use words::{
    JsonForm, blank_split, comma_fields, cut_at_blanks, json_form, parse_bool, quoted_words, split_instruction,
};
