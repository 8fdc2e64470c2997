//! Finds the parts of an attribute's options and of the function under it.
//!
//! Works on [`Word`]s instead of the compiler's tokens, which exist only inside a compiler. What it finds are
//! positions in the list, so whoever asked knows the tokens, and the places to point at.

use std::ops::Range;

/// The macro that is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Macro {
    Main,
    Test,
}

impl Macro {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Main => "#[corering::main]",
            Self::Test => "#[corering::test]",
        }
    }
}

/// What matters of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Ident(String),
    Punct(char),
    Literal,
    /// With the words in them: how many arguments there are is needed.
    Parens(Vec<Word>),
    /// Square brackets, with the words in them: an attribute's name is needed.
    Brackets(Vec<Word>),
    Braces,
    /// What a `macro_rules` variable stood for: a visibility, a type, a body.
    Invisible,
}

impl Word {
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Ident(ident) if ident == name)
    }
}

/// Something is wrong with the word at `at`; `None` if there is no such word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) at: Option<usize>,
    pub(crate) text: String,
}

fn problem<T>(at: impl Into<Option<usize>>, text: String) -> Result<T, Problem> {
    Err(Problem { at: at.into(), text })
}

/// Where the parts of a function are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// The word `async`. Attributes and visibility stand before it.
    pub(crate) async_at: usize,
    /// The name; the brackets of the arguments follow it.
    pub(crate) name_at: usize,
    /// The body. The return type and what else there is stand between the arguments and it.
    pub(crate) body_at: usize,
}

/// What the function is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    None,
    World,
}

/// Finds the parts of the function that `words` are.
///
/// # Errors
///
/// If they are none that can be run: the first thing in the way.
pub(crate) fn function(what: Macro, arguments: Arguments, words: &[Word]) -> Result<Function, Problem> {
    let name = what.name();
    let mut at = 0;
    while let (Some(Word::Punct('#')), Some(Word::Brackets(attribute))) = (words.get(at), words.get(at + 1)) {
        if what == Macro::Test && matches!(&attribute[..], [only] if only.is("test")) {
            return problem(at + 1, format!("{name} makes it a test already: remove #[test]"));
        }
        at += 2;
    }
    if words.get(at) == Some(&Word::Invisible) {
        at += 1;
    } else if words.get(at).is_some_and(|word| word.is("pub")) {
        at += 1;
        if let Some(Word::Parens(_)) = words.get(at) {
            at += 1;
        }
    }
    let start = at;
    let mut async_at = None;
    loop {
        match words.get(at) {
            Some(word) if word.is("fn") => break,
            Some(word) if word.is("async") => async_at = Some(at),
            Some(word) if ["const", "unsafe", "extern", "safe"].iter().any(|other| word.is(other)) => {}
            Some(Word::Literal) if at > start && words[at - 1].is("extern") => {}
            _ => return problem(start, format!("{name} is for an `async fn`")),
        }
        at += 1;
    }
    let Some(async_at) = async_at else {
        return problem(at, format!("{name} runs an `async fn`: write `async` before `fn`"));
    };
    if let Some(other) = (start..at).find(|&at| at != async_at) {
        return problem(other, format!("{name} runs a plain `async fn`: remove this"));
    }
    let name_at = at + 1;
    match words.get(name_at + 1) {
        Some(Word::Parens(inside)) => match (arguments, count_arguments(inside)) {
            (Arguments::None, 0) | (Arguments::World, 1) => {}
            (Arguments::None, _) if what == Macro::Test => {
                let text = "calls the function without arguments: it can have none, but for the world of `sim`";
                return problem(name_at + 1, format!("{name} {text}"));
            }
            (Arguments::None, _) => {
                return problem(name_at + 1, format!("{name} calls the function without arguments: it can have none"));
            }
            (Arguments::World, _) => {
                let text = "calls the function with a world: write `(world: corering::sim::World)`";
                return problem(name_at + 1, format!("#[corering::test(sim)] {text}"));
            }
        },
        Some(Word::Punct('<')) => {
            return problem(name_at + 1, format!("{name} cannot tell what generic parameters should be: remove them"));
        }
        _ => return problem(name_at, format!("{name} is for an `async fn`")),
    }
    let body_at = words.len() - 1;
    match &words[body_at] {
        Word::Braces | Word::Invisible if body_at > name_at + 1 => Ok(Function { async_at, name_at, body_at }),
        _ => problem(body_at, format!("{name} runs the function's body: it must have one")),
    }
}

/// How many arguments there are: commas between them, other than those of `<..>`, and one at the end.
fn count_arguments(words: &[Word]) -> usize {
    let (mut count, mut depth, mut in_one) = (0, 0, false);
    for (at, word) in words.iter().enumerate() {
        let is_arrow = at > 0 && words[at - 1] == Word::Punct('-');
        match word {
            Word::Punct('<') => depth += 1,
            Word::Punct('>') if !is_arrow => depth -= 1,
            Word::Punct(',') if depth == 0 => {
                in_one = false;
                continue;
            }
            _ => {}
        }
        count += usize::from(!in_one);
        in_one = true;
    }
    count
}

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    CancelOnCtrlC,
    Debug,
    Entries,
    PausedTime,
    ThreadName,
    Crate,
    Sim,
    Seeds,
}

const SETTINGS: [(&str, Setting); 8] = [
    ("cancel_on_ctrl_c", Setting::CancelOnCtrlC),
    ("debug", Setting::Debug),
    ("entries", Setting::Entries),
    ("paused_time", Setting::PausedTime),
    ("thread_name", Setting::ThreadName),
    ("crate", Setting::Crate),
    ("sim", Setting::Sim),
    ("seeds", Setting::Seeds),
];

impl Setting {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CancelOnCtrlC => "cancel_on_ctrl_c",
            Self::Debug => "debug",
            Self::Entries => "entries",
            Self::PausedTime => "paused_time",
            Self::ThreadName => "thread_name",
            Self::Crate => "crate",
            Self::Sim => "sim",
            Self::Seeds => "seeds",
        }
    }

    /// A world is for tests.
    fn is_for(self, what: Macro) -> bool {
        match self {
            Self::CancelOnCtrlC | Self::Debug | Self::Entries | Self::PausedTime | Self::ThreadName | Self::Crate => {
                true
            }
            Self::Sim | Self::Seeds => what == Macro::Test,
        }
    }

    /// What it takes, if its name alone does not say it.
    fn example(self) -> Option<&'static str> {
        match self {
            Self::CancelOnCtrlC | Self::Debug | Self::PausedTime | Self::Sim => None,
            Self::Entries => Some("entries = 256"),
            Self::ThreadName => Some("thread_name = \"proxy\""),
            Self::Crate => Some("crate = path::to::corering"),
            Self::Seeds => Some("seeds = 1000"),
        }
    }
}

/// A setting and where its value is; `None` if it has none and means `true`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) setting: Setting,
    pub(crate) value: Option<Range<usize>>,
}

/// Finds the options in the brackets of the attribute.
///
/// # Errors
///
/// The first option that there is not, that stands twice, or that lacks its value.
pub(crate) fn options(what: Macro, words: &[Word]) -> Result<Vec<Choice>, Problem> {
    let name = what.name();
    let there_are = || SETTINGS.into_iter().filter(|(_, setting)| setting.is_for(what));
    let mut choices: Vec<Choice> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let setting_at = at;
        let known = match &words[at] {
            Word::Ident(ident) => there_are().find(|(name, _)| name == ident),
            _ => None,
        };
        let Some((_, setting)) = known else {
            let all: Vec<&str> = there_are().map(|(name, _)| name).collect();
            return problem(at, format!("{name} has no such option; there are: {}", all.join(", ")));
        };
        if choices.iter().any(|choice| choice.setting == setting) {
            return problem(at, format!("{name} has `{}` twice", setting.name()));
        }
        at += 1;
        let value = if words.get(at) == Some(&Word::Punct('=')) {
            let start = at + 1;
            let end = (start..words.len()).find(|&at| words[at] == Word::Punct(',')).unwrap_or(words.len());
            at = end;
            (start < end).then_some(start..end)
        } else {
            None
        };
        let has_equals = at > setting_at + 1;
        match setting.example() {
            Some(example) if value.is_none() => {
                return problem(setting_at, format!("`{}` needs a value, as in `{example}`", setting.name()));
            }
            None if value.is_none() && has_equals => {
                return problem(setting_at, format!("`{}` has no value after `=`", setting.name()));
            }
            _ if setting == Setting::Sim && has_equals => {
                return problem(setting_at, "`sim` takes no value: leave it out for a test without a world".to_owned());
            }
            _ => choices.push(Choice { setting, value }),
        }
        match words.get(at) {
            None => {}
            Some(Word::Punct(',')) => at += 1,
            Some(_) => return problem(at, format!("{name} expects a comma here")),
        }
    }
    let has = |wanted| choices.iter().any(|choice| choice.setting == wanted);
    if has(Setting::Seeds) && !has(Setting::Sim) {
        let at = words.iter().position(|word| word.is("seeds"));
        return problem(at, format!("{name} has `seeds` without `sim`, which they are for"));
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words from text in which everything is separated by spaces; `[name]` are brackets, `""` is a literal.
    fn words(text: &str) -> Vec<Word> {
        let word = |text: &str| match text {
            "()" => Word::Parens(Vec::new()),
            "(..)" => Word::Parens(words("world : World")),
            "(..,..)" => Word::Parens(words("one : u8 , two : u8")),
            "{}" => Word::Braces,
            "$" => Word::Invisible,
            "\"\"" => Word::Literal,
            _ if text.starts_with('[') => Word::Brackets(vec![Word::Ident(text.trim_matches(['[', ']']).to_owned())]),
            _ if text.starts_with(|c: char| c.is_ascii_digit()) => Word::Literal,
            _ => match text.chars().collect::<Vec<_>>()[..] {
                [c] if c.is_ascii_punctuation() => Word::Punct(c),
                _ => Word::Ident(text.to_owned()),
            },
        };
        text.split_whitespace().map(word).collect()
    }

    fn found(text: &str) -> (usize, usize, usize) {
        let function = function(Macro::Test, Arguments::None, &words(text)).unwrap();
        (function.async_at, function.name_at, function.body_at)
    }

    /// The word that is pointed at, and the message.
    fn refused(text: &str) -> (String, String) {
        let problem = function(Macro::Main, Arguments::None, &words(text)).unwrap_err();
        let at = problem.at.and_then(|at| text.split_whitespace().nth(at));
        (at.unwrap_or("end").to_owned(), problem.text)
    }

    #[test]
    fn the_parts_of_a_function_are_found() {
        assert_eq!(found("async fn main () {}"), (0, 2, 4));
        assert_eq!(found("async fn main () - > io : : Result < (..) > {}"), (0, 2, 13));
        assert_eq!(found("# [should_panic] # [cfg] pub (..) async fn t () {}"), (6, 8, 10));
        assert_eq!(found("pub async fn t () - > $ {}"), (1, 3, 8));
        assert_eq!(found("$ async fn t () $"), (1, 3, 5));
        assert_eq!(found("async fn t () - > T where T : U {}"), (0, 2, 11));
    }

    #[test]
    fn what_cannot_be_run_is_pointed_at() {
        let cases = [
            ("fn main () {}", "fn", "write `async` before `fn`"),
            ("pub fn main () {}", "fn", "write `async` before `fn`"),
            ("async fn main (..) {}", "(..)", "without arguments"),
            ("async fn main < T > () {}", "<", "generic parameters"),
            ("unsafe async fn main () {}", "unsafe", "plain `async fn`"),
            ("async extern \"\" fn main () {}", "extern", "plain `async fn`"),
            ("async fn main () ;", ";", "must have one"),
            ("# [derive] pub struct Main ;", "struct", "is for an `async fn`"),
            ("struct Main ;", "struct", "is for an `async fn`"),
            ("async {}", "async", "is for an `async fn`"),
            ("async fn", "end", "is for an `async fn`"),
            ("", "end", "is for an `async fn`"),
        ];
        for (text, at, message) in cases {
            let (pointed, told) = refused(text);
            assert_eq!(pointed, at, "{text}: {told}");
            assert!(told.contains(message), "{text}: {told}");
            assert!(told.starts_with("#[corering::main]"), "{text}: {told}");
        }
    }

    #[test]
    fn a_second_test_attribute_is_refused_but_only_on_tests() {
        let text = words("# [should_panic] # [test] async fn t () {}");
        let problem = function(Macro::Test, Arguments::None, &text).unwrap_err();
        assert_eq!(problem.at, Some(3));
        assert!(problem.text.contains("remove #[test]"));
        assert!(function(Macro::Main, Arguments::None, &text).is_ok());
    }

    #[test]
    fn a_test_in_a_world_takes_just_that() {
        let told = |arguments, text| function(Macro::Test, arguments, &words(text)).map_err(|problem| problem.text);
        assert!(told(Arguments::World, "async fn t (..) {}").is_ok());
        for text in ["async fn t () {}", "async fn t (..,..) {}"] {
            let problem = told(Arguments::World, text).unwrap_err();
            assert!(problem.contains("write `(world: corering::sim::World)`"), "{text}: {problem}");
        }
        let problem = told(Arguments::None, "async fn t (..) {}").unwrap_err();
        assert!(problem.contains("but for the world of `sim`"), "{problem}");
    }

    #[test]
    fn arguments_are_counted_by_the_commas_between_them() {
        let cases = [
            ("", 0),
            ("world : World", 1),
            ("world : World ,", 1),
            ("a : A , b : B", 2),
            ("map : Map < A , B >", 1),
            ("f : fn (..) - > A , map : Map < A , B > ,", 2),
        ];
        for (text, count) in cases {
            assert_eq!(count_arguments(&words(text)), count, "{text}");
        }
    }

    #[test]
    fn options_are_found_with_their_values() {
        let choices = |text| {
            options(Macro::Main, &words(text))
                .unwrap()
                .into_iter()
                .map(|choice| (choice.setting, choice.value))
                .collect::<Vec<_>>()
        };
        assert_eq!(choices(""), []);
        assert_eq!(choices("debug"), [(Setting::Debug, None)]);
        assert_eq!(choices("debug ,"), [(Setting::Debug, None)]);
        let of_a_test = options(Macro::Test, &words("sim , seeds = 10 * 2")).unwrap();
        assert_eq!(
            of_a_test,
            [Choice { setting: Setting::Sim, value: None }, Choice { setting: Setting::Seeds, value: Some(4..7) }]
        );
        assert_eq!(
            choices("entries = 256 , paused_time , crate = a : : b , thread_name = \"\" , debug = false"),
            [
                (Setting::Entries, Some(2..3)),
                (Setting::PausedTime, None),
                (Setting::Crate, Some(8..12)),
                (Setting::ThreadName, Some(15..16)),
                (Setting::Debug, Some(19..20)),
            ]
        );
    }

    #[test]
    fn wrong_options_are_pointed_at() {
        let cases = [
            ("speed", 0, "there are: cancel_on_ctrl_c, debug, entries, paused_time, thread_name, crate, sim, seeds"),
            ("seeds = 5", 0, "without `sim`"),
            ("debug , seeds = 5", 2, "without `sim`"),
            ("sim , seeds", 2, "`seeds = 1000`"),
            ("sim = false", 0, "no value"),
            ("debug , 5", 2, "no such option"),
            ("debug , debug", 2, "twice"),
            ("entries", 0, "`entries = 256`"),
            ("entries =", 0, "`entries = 256`"),
            ("debug = , entries = 1", 0, "no value"),
            ("debug entries = 1", 1, "a comma"),
            (", debug", 0, "no such option"),
        ];
        for (text, at, message) in cases {
            let problem = options(Macro::Test, &words(text)).unwrap_err();
            assert_eq!(problem.at, Some(at), "{text}: {}", problem.text);
            assert!(problem.text.contains(message), "{text}: {}", problem.text);
        }
    }

    #[test]
    fn a_world_is_for_tests_alone() {
        for text in ["sim", "seeds = 5"] {
            let problem = options(Macro::Main, &words(text)).unwrap_err();
            assert!(
                problem.text.ends_with("there are: cancel_on_ctrl_c, debug, entries, paused_time, thread_name, crate")
            );
        }
    }
}
