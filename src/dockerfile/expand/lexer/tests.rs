use proptest::prelude::*;

use super::*;

const VARIABLES: [(&str, &str); 8] = [
    ("PWD", "/home"),
    ("SHELL", "bash"),
    ("KOREAN", "한국어"),
    ("EMPTY", ""),
    ("FILE", "archive.tar.gz"),
    ("PATHS", "/usr/local/lib/lib"),
    ("SPACES", "a b"),
    ("STAR", "a*b?c\\d"),
];

fn lookup(name: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn read(source: &str) -> Result<String, String> {
    Lexer::new('\\').read(source, &lookup).map(|lexed| lexed.text).map_err(|error| error.message)
}

fn words(source: &str) -> Vec<String> {
    Lexer::new('\\').read(source, &lookup).unwrap().words
}

fn assert_table(table: &[(&str, &str)]) {
    for (source, text) in table {
        assert_eq!(read(source).as_deref(), Ok(*text), "{source}");
    }
}

#[test]
fn quotes_and_escapes_are_resolved() {
    assert_table(&[
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ("he\"ll\"o", "hello"),
        ("he\\'llo", "he'llo"),
        ("he\\\\'llo'", "he\\llo"),
        ("abc\\tdef", "abctdef"),
        ("\"abc\\tdef\"", "abc\\tdef"),
        ("\"abc\\\\tdef\"", "abc\\tdef"),
        ("'abc\\tdef'", "abc\\tdef"),
        ("hello\\", "hello"),
        ("\"hello\\\"\"", "hello\""),
        ("\"'\"", "'"),
        ("'\"'", "\""),
        ("'\\'", "\\"),
        ("a  b", "a  b"),
        ("''", ""),
    ]);
}

#[test]
fn plain_variables_are_put_in() {
    assert_table(&[
        ("$PWD", "/home"),
        ("${PWD}", "/home"),
        ("he$PWD", "he/home"),
        ("he$PWD.", "he/home."),
        ("he${PWD}xx", "he/homexx"),
        ("$PWD$SHELL", "/homebash"),
        ("\"$PWD\"", "/home"),
        ("'$PWD'", "$PWD"),
        ("'\"'$PWD'\"'", "\"/home\""),
        ("\\$PWD", "$PWD"),
        ("\\\\$PWD", "\\/home"),
        ("\\\\\\$PWD", "\\$PWD"),
        ("\"\\$PWD\"", "$PWD"),
        ("$KOREAN", "한국어"),
        ("안녕$KOREAN", "안녕한국어"),
        ("$NOTSET.", "."),
        ("${NOTSET}x", "x"),
        ("$", "$"),
        ("he$", "he$"),
        ("$.", "$."),
        ("$ x", "$ x"),
        ("$1", ""),
        ("$12x", "x"),
        ("$@x$*x$#x$?x$-x$$x$!x$0x", "xxxxxxxx"),
        ("$PWD_", ""),
        ("${PWD}_", "/home_"),
        ("$pwd", ""),
    ]);
}

#[test]
fn defaults_and_alternatives() {
    assert_table(&[
        ("${NOTSET:-word}", "word"),
        ("${NOTSET-word}", "word"),
        ("${EMPTY:-word}", "word"),
        ("${EMPTY-word}", ""),
        ("${PWD:-word}", "/home"),
        ("${PWD-word}", "/home"),
        ("${NOTSET:+word}", ""),
        ("${NOTSET+word}", ""),
        ("${EMPTY:+word}", ""),
        ("${EMPTY+word}", "word"),
        ("${PWD:+word}", "word"),
        ("${PWD+word}", "word"),
        ("${PWD:?word}", "/home"),
        ("${PWD?word}", "/home"),
        ("${EMPTY?word}", ""),
        ("${NOTSET:-$PWD}", "/home"),
        ("${NOTSET:-${PWD}}x", "/homex"),
        ("${NOTSET:-${ALSO:-${PWD:+deep}}}", "deep"),
        ("${NOTSET:-\"a b\"}", "a b"),
        ("${NOTSET:-a'}'b}", "a}b"),
        ("${NOTSET:-a\\}b}", "a}b"),
        ("${NOTSET:-}", ""),
        ("${NOTSET:-:-}", ":-"),
        ("${PWD:+${PWD}:}/x", "/home:/x"),
        ("\"${NOTSET:-a b}\"", "a b"),
    ]);
}

#[test]
fn prefixes_and_suffixes_are_cut_off() {
    assert_table(&[
        ("${FILE#*.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "archive.tar"),
        ("${FILE%%.*}", "archive"),
        ("${FILE#archive.}", "tar.gz"),
        ("${FILE#nothing}", "archive.tar.gz"),
        ("${FILE%gz}", "archive.tar."),
        ("${FILE%nothing}", "archive.tar.gz"),
        ("${FILE#??????????}", "r.gz"),
        ("${FILE#?}", "rchive.tar.gz"),
        ("${FILE##*}", ""),
        ("${FILE%%*}", ""),
        ("${FILE#}", "archive.tar.gz"),
        ("${FILE%}", "archive.tar.gz"),
        ("${PATHS##*/}", "lib"),
        ("${PATHS%/*}", "/usr/local/lib"),
        ("${PATHS#*/lib}", "/lib"),
        ("${PATHS##*/lib}", ""),
        ("${KOREAN#?}", "국어"),
        ("${KOREAN%?}", "한국"),
        ("${STAR#a\\*}", "b?c\\d"),
        ("${STAR%\\?*}", "a*b"),
        ("${STAR%\\\\d}", "a*b?c"),
        ("${NOTSET#x}", ""),
        ("${FILE%.$NOTSET*}", "archive.tar"),
        ("${PATHS#\\/usr}", "/local/lib/lib"),
    ]);
}

#[test]
fn parts_are_replaced() {
    assert_table(&[
        ("${PATHS/lib/x}", "/usr/local/x/lib"),
        ("${PATHS//lib/x}", "/usr/local/x/x"),
        ("${PATHS/\\//-}", "-usr/local/lib/lib"),
        ("${PATHS//\\//-}", "-usr-local-lib-lib"),
        ("${FILE/.*/!}", "archive!"),
        ("${FILE//?/x}", "xxxxxxxxxxxxxx"),
        ("${FILE/a*r/x}", "x.gz"),
        ("${FILE/nothing/x}", "archive.tar.gz"),
        ("${FILE//./}", "archivetargz"),
        ("${FILE/.tar/$SHELL}", "archivebash.gz"),
        ("${FILE/${NOTSET:-.tar}/x}", "archivex.gz"),
        ("${STAR/\\*/x}", "axb?c\\d"),
        ("${NOTSET/a/b}", ""),
        // Quoted escapes of a pattern are characters.
        ("${STAR/\"?c\\d\"/x}", "a*bx"),
        ("${STAR%'\\d'}", "a*b?c"),
        ("${STAR%\"\\d\"}", "a*b?c"),
        ("${SPACES// /_}", "a_b"),
    ]);
}

#[test]
fn replacing_all_lets_dollar_zero_be_the_match_as_go_does() {
    let with =
        |value: &'static str| Lexer::new('\\').read("${A//x/$R}", &move |name| Some(if name == "A" { "axbx" } else { value }));
    assert_eq!(with("[$0]").unwrap().text, "a[x]b[x]");
    assert_eq!(with("$$").unwrap().text, "a$b$");
}

#[test]
fn wrong_substitutions_say_what_is_wrong() {
    for (source, message) in [
        ("'a", "a single quote is not closed"),
        ("\"a", "a double quote is not closed"),
        ("\"a\\\"", "a double quote is not closed"),
        ("${", "`}` is missing at the end of a substitution"),
        ("${PWD", "`}` is missing at the end of a substitution"),
        ("${PWD:", "`}` is missing at the end of a substitution"),
        ("${PWD:-x", "`}` is missing at the end of a substitution"),
        ("${PWD/a}", "`/` is missing at the end of a substitution"),
        ("${}", "`${}` is not a substitution: the variable's name is missing"),
        ("${:-x}", "`${:` is not a substitution: the variable's name is missing"),
        ("${{x}", "`${{` is not a substitution: the variable's name is missing"),
        ("${FILE:#a}", "`${FILE:#` is not a substitution: only `-`, `+`, `?`, `#`, `%` and `/` may follow a name"),
        ("${PWD!x}", "`${PWD!` is not a substitution: only `-`, `+`, `?`, `#`, `%` and `/` may follow a name"),
        ("${PWD:=x}", "`${PWD:=` is not a substitution: only `-`, `+`, `?`, `#`, `%` and `/` may follow a name"),
        ("${NOTSET?}", "NOTSET: is not allowed to be unset"),
        ("${NOTSET:?}", "NOTSET: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${NOTSET:?give $SHELL}", "NOTSET: give bash"),
        ("${FILE#\\a}", "`\\a` in the pattern `\\a`: only `*`, `?`, `\\`, `/` and `}` are escaped"),
    ] {
        assert_eq!(read(source).unwrap_err(), message, "{source}");
    }
}

#[test]
fn words_are_split_at_blanks_outside_of_quotes() {
    for (source, expected) in [
        ("a b", &["a", "b"][..]),
        ("  a   b  ", &["a", "b"]),
        ("$SPACES", &["a", "b"]),
        ("x$SPACES", &["xa", "b"]),
        ("\"$SPACES\"", &["a b"]),
        ("'a b' c", &["a b", "c"]),
        ("a\\ b", &["a b"]),
        ("", &[]),
        ("$EMPTY", &[]),
    ] {
        assert_eq!(words(source), expected, "{source}");
    }
}

#[test]
fn a_backtick_escapes_where_the_directive_says_so() {
    let read = |source| Lexer::new('`').read(source, &lookup).unwrap().text;
    assert_eq!(read("C:\\x\\$SHELL"), "C:\\x\\bash");
    assert_eq!(read("`$SHELL"), "$SHELL");
    assert_eq!(read("\"a`\"b``c`d\""), "a\"b`c`d");
}

#[test]
fn names_are_reported_unless_something_stands_in_for_them() {
    let lexed = Lexer::new('\\').read("$PWD $A ${B} ${C:-x} ${D+y} ${E#z} '$F'", &lookup).unwrap();
    assert_eq!(lexed.set.into_iter().collect::<Vec<_>>(), ["PWD"]);
    assert_eq!(lexed.unset.into_iter().collect::<Vec<_>>(), ["A", "B", "E"]);
}

#[test]
fn nesting_and_length_have_limits() {
    let deep = format!("{}x{}", "${A:-".repeat(100), "}".repeat(100));
    assert_eq!(read(&deep).unwrap_err(), "more than 64 substitutions are nested");
    let long = "x".repeat(Lexer::MAX_WORD_LENGTH / 2);
    let lexer = Lexer::new('\\');
    for source in ["$A$A$A", "\"$A$A$A\"", "${A//x/yyyy}", "${A//?/$A}"] {
        let message = lexer.read(source, &|_| Some(long.as_str())).unwrap_err().message;
        assert_eq!(message, "the variables make this longer than 128 KiB", "{source}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_never_panics(source in "[$`{}:+?#%/*\\\\'\"a \\n-]{0,40}", escape in prop::sample::select(vec!['\\', '`']), flags in any::<[bool; 4]>()) {
        let [keep_quotes, keep_escapes, ignore_quotes, keep_unset] = flags;
        let lexer = Lexer { keep_quotes, keep_escapes, ignore_quotes, keep_unset, ..Lexer::new(escape) };
        let _ = lexer.read(&source, &|name| (name == "a").then_some("a/b"));
    }

    #[test]
    fn text_without_special_characters_is_itself(source in "[^$\\\\'\"]{0,40}") {
        prop_assert_eq!(read(&source).unwrap(), source);
    }

    #[test]
    fn what_is_kept_as_written_reads_the_same_again(source in "[a-z $'\"{}:-]{0,20}") {
        let keep = Lexer { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Lexer::new('\\') };
        if let Ok(kept) = keep.read(&source, &|_| None) {
            let first = Lexer::new('\\').read(&source, &|_| None);
            let again = Lexer::new('\\').read(&kept.text, &|_| None);
            prop_assert_eq!(again.map(|lexed| lexed.text), first.map(|lexed| lexed.text));
        }
    }
}
