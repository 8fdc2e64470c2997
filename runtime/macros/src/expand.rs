//! Puts the function that runs an `async fn` together from the tokens of that one.
//!
//! ```text
//! ATTRIBUTES VISIBILITY fn name() -> T {          // with #[test] before it, if it is a test
//!     async fn name() -> T { .. }                 // as it was written
//!     match ::corering::Builder::new().debug(true).run(name()) {
//!         Ok(output) => output,
//!         Err(error) => ..
//!     }
//! }
//! ```
//!
//! A test in simulated worlds instead calls, as its whole body,
//!
//! ```text
//! ::corering::sim::Check::new(PLACE, NAME, PACKAGE, FEATURE).seeds(1000).builder(BUILDER).run(name)
//! ```

use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};

use crate::parse::{self, Arguments, Choice, Function, Macro, Problem, Setting, Word};

/// The function under the attribute as one that runs it; what is wrong becomes an error of the compiler's.
pub(crate) fn expand(what: Macro, options: TokenStream, item: TokenStream) -> TokenStream {
    let options: Vec<TokenTree> = options.into_iter().collect();
    let item: Vec<TokenTree> = item.into_iter().collect();
    let mut output = TokenStream::new();
    let option_words = words(&options);
    let choices = parse::options(what, &option_words).unwrap_or_else(|problem| {
        // The function is made all the same: otherwise a missing `main` would be reported, too.
        output.extend(compile_error(&problem, &options));
        Vec::new()
    });
    let sim_at = option_words.iter().position(|word| word.is("sim")).filter(|_| what == Macro::Test);
    if sim_at.is_some() && !cfg!(feature = "sim") {
        let text = "the feature `sim` of corering is off: switch it on in Cargo.toml, with features = [\"sim\"]";
        return compile_error(&Problem { at: sim_at, text: text.to_owned() }, &options);
    }
    let arguments = if sim_at.is_some() { Arguments::World } else { Arguments::None };
    match parse::function(what, arguments, &words(&item)) {
        Ok(function) => output.extend(match arguments {
            Arguments::None => wrapped(what, &function, &item, &builder(&choices, &options)),
            Arguments::World => checked(&function, &item, &choices, &options),
        }),
        Err(problem) => {
            output.extend(compile_error(&problem, &item));
            // What is not async can stand by itself: without it, whoever uses it would be reported, too.
            if !item.iter().any(|token| token.to_string() == "async") {
                output.extend(item);
            }
        }
    }
    output
}

fn wrapped(what: Macro, function: &Function, item: &[TokenTree], builder: &TokenStream) -> TokenStream {
    let &Function { async_at, name_at, body_at } = function;
    let call = TokenStream::from_iter(item[name_at..name_at + 2].iter().cloned());
    let on_error = code(match what {
        Macro::Main => "{ ::std::eprintln!(\"error: {error}\"); ::std::process::exit(1) }",
        Macro::Test => "::std::panic!(\"{error}\")",
    });

    let mut body = TokenStream::from_iter(item[async_at..=body_at].iter().cloned());
    body.extend(code("match"));
    body.extend(builder.clone());
    body.extend(code(".run"));
    body.extend(group(Delimiter::Parenthesis, call));
    let mut arms = code("::core::result::Result::Ok(output) => output, ::core::result::Result::Err(error) =>");
    arms.extend(on_error);
    body.extend(group(Delimiter::Brace, arms));

    let mut output = match what {
        Macro::Main => TokenStream::new(),
        Macro::Test => code("#[::core::prelude::v1::test]"),
    };
    output.extend(item[..async_at].iter().cloned());
    output.extend(item[async_at + 1..body_at].iter().cloned());
    let mut body = Group::new(Delimiter::Brace, body);
    // What is wrong with the return type as a whole is shown at the function's own body.
    body.set_span(item[body_at].span());
    output.extend([TokenTree::Group(body)]);
    output
}

/// The test of a function that is called with worlds.
fn checked(function: &Function, item: &[TokenTree], choices: &[Choice], options: &[TokenTree]) -> TokenStream {
    let &Function { async_at, name_at, body_at } = function;
    let name = &item[name_at];
    let mut body = TokenStream::from_iter(item[async_at..=body_at].iter().cloned());
    body.extend(facade(choices, options));
    // The package knows its own features; one without `sim` has corering's switched on in another way.
    body.extend(code(&format!(
        "::sim::Check::new(::core::module_path!(), {:?}, ::core::env!(\"CARGO_PKG_NAME\"), ::core::cfg!(feature = \"sim\"))",
        name.to_string(),
    )));
    if let Some(seeds) = choices.iter().find(|choice| choice.setting == Setting::Seeds) {
        body.extend(code(".seeds"));
        body.extend(group(Delimiter::Parenthesis, value(seeds, options)));
    }
    body.extend(code(".builder"));
    body.extend(group(Delimiter::Parenthesis, builder(choices, options)));
    body.extend(code(".run"));
    body.extend(group(Delimiter::Parenthesis, name.clone().into()));

    let mut output = code(
        "#[::core::prelude::v1::test] #[allow(unexpected_cfgs, reason = \"the package may have no such feature\")]",
    );
    output.extend(item[..async_at].iter().cloned());
    output.extend(item[async_at + 1..=name_at].iter().cloned());
    output.extend(group(Delimiter::Parenthesis, TokenStream::new()));
    output.extend(group(Delimiter::Brace, body));
    output
}

/// A pattern without `mut` and `ref` before its names: what is bound to a reference is one anyway.
pub(crate) fn by_reference(pattern: TokenStream) -> TokenStream {
    let mut tokens = Vec::<TokenTree>::new();
    for token in pattern {
        let after_and = matches!(tokens.last(), Some(TokenTree::Punct(punct)) if punct.as_char() == '&');
        match token {
            TokenTree::Ident(word) if !after_and && matches!(&*word.to_string(), "mut" | "ref") => {}
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), by_reference(group.stream()));
                inner.set_span(group.span());
                tokens.push(TokenTree::Group(inner));
            }
            other => tokens.push(other),
        }
    }
    tokens.into_iter().collect()
}

/// The builder with what was chosen.
fn builder(choices: &[Choice], options: &[TokenTree]) -> TokenStream {
    let mut builder = facade(choices, options);
    builder.extend(code("::Builder::new()"));
    for choice in choices {
        match choice.setting {
            Setting::Crate | Setting::Sim | Setting::Seeds => {}
            Setting::CancelOnCtrlC | Setting::Debug | Setting::Entries | Setting::PausedTime | Setting::ThreadName => {
                builder.extend(code(&format!(".{}", choice.setting.name())));
                builder.extend(group(Delimiter::Parenthesis, value(choice, options)));
            }
        }
    }
    builder
}

/// Where the facade is.
fn facade(choices: &[Choice], options: &[TokenTree]) -> TokenStream {
    let chosen = choices.iter().find(|choice| choice.setting == Setting::Crate);
    chosen.map_or_else(|| code("::corering"), |choice| value(choice, options))
}

fn value(choice: &Choice, options: &[TokenTree]) -> TokenStream {
    match &choice.value {
        Some(range) => TokenStream::from_iter(options[range.clone()].iter().cloned()),
        None => code("true"),
    }
}

/// `compile_error!` at the word that the problem is about, or at the attribute.
fn compile_error(problem: &Problem, tokens: &[TokenTree]) -> TokenStream {
    let span = problem.at.and_then(|at| tokens.get(at)).map_or_else(Span::call_site, TokenTree::span);
    code(&format!("::core::compile_error! {{ {:?} }}", problem.text))
        .into_iter()
        .map(|token| at_span(token, span))
        .collect()
}

fn at_span(token: TokenTree, span: Span) -> TokenTree {
    let mut token = match token {
        TokenTree::Group(group) => {
            let inner = group.stream().into_iter().map(|token| at_span(token, span));
            TokenTree::Group(Group::new(group.delimiter(), inner.collect()))
        }
        other => other,
    };
    token.set_span(span);
    token
}

fn words(tokens: &[TokenTree]) -> Vec<Word> {
    let word = |token: &TokenTree| match token {
        TokenTree::Ident(ident) => Word::Ident(ident.to_string()),
        TokenTree::Punct(punct) => Word::Punct(punct.as_char()),
        TokenTree::Literal(_) => Word::Literal,
        TokenTree::Group(group) => match group.delimiter() {
            Delimiter::Parenthesis => Word::Parens(words(&Vec::from_iter(group.stream()))),
            Delimiter::Bracket => Word::Brackets(words(&Vec::from_iter(group.stream()))),
            Delimiter::Brace => Word::Braces,
            Delimiter::None => Word::Invisible,
        },
    };
    tokens.iter().map(word).collect()
}

fn group(delimiter: Delimiter, inner: TokenStream) -> TokenStream {
    TokenTree::Group(Group::new(delimiter, inner)).into()
}

/// Tokens of our own text.
fn code(text: &str) -> TokenStream {
    match text.parse() {
        Ok(tokens) => tokens,
        Err(error) => panic!("`{text}` is no Rust: {error}"),
    }
}
