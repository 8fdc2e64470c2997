//! What clients send to `examples/kv`: whatever it is, it is commands, or nonsense that is told apart from them, and it makes no
//! difference in which pieces it comes.
#![no_main]

#[path = "../../examples/kv/protocol.rs"]
#[allow(dead_code, reason = "the replies are for the server alone")]
mod protocol;

use libfuzzer_sys::fuzz_target;

use protocol::{Limits, Parser, command};

/// So small that a short input reaches each of them.
const LIMITS: Limits = Limits { string: 40, strings: 6, command: 100, line: 30 };

/// What a server does that gets the input in pieces: the commands, and what is wrong with the rest, if anything is.
fn commands<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let (mut parser, mut rest, mut commands) = (Parser::default(), Vec::new(), Vec::new());
    for piece in pieces {
        rest.extend_from_slice(piece);
        let mut at = 0;
        loop {
            match parser.parse(&rest[at..], LIMITS) {
                Ok(Some(len)) => {
                    assert!((1..=rest.len() - at).contains(&len), "a command of {len} bytes");
                    let words: Vec<Vec<u8>> =
                        parser.words.iter().map(|word| rest[at..at + len][word.clone()].to_vec()).collect();
                    commands.push(words);
                    at += len;
                }
                Ok(None) => break,
                Err(malformed) => return (commands, Some(malformed.to_string())),
            }
        }
        rest.drain(..at);
        let most = LIMITS.command.max(LIMITS.line) + 100;
        assert!(rest.len() < most + piece.len(), "{} bytes wait for their end", rest.len());
    }
    (commands, None)
}

/// Cuts the input into pieces whose lengths follow from a number.
fn pieces(input: &[u8], number: u8) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut state) = (input, u32::from(number) * 2 + 1);
    std::iter::from_fn(move || {
        state = state.wrapping_mul(0x9e37_79b1) ^ state >> 15;
        let len = (state as usize % 7 + 1).min(rest.len());
        let (piece, left) = rest.split_at(len);
        rest = left;
        (len > 0).then_some(piece)
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((number, input)) = data.split_first() else { return };
    let whole = commands(std::iter::once(input));
    assert_eq!(commands(input.chunks(1)), whole, "byte by byte");
    assert_eq!(commands(pieces(input, *number)), whole, "in pieces");
    // What was understood is understood again, as a client or the log would write it.
    let mut again = Vec::new();
    for words in &whole.0 {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        // The words of a line may be more than an array may have.
        if words.len() <= LIMITS.strings {
            let mut bytes = Vec::new();
            command(&mut bytes, &words);
            let mut parser = Parser::default();
            let generous = Limits { command: 1000, ..LIMITS };
            assert_eq!(parser.parse(&bytes, generous), Ok(Some(bytes.len())));
            again.push(parser.words.iter().map(|word| bytes[word.clone()].to_vec()).collect::<Vec<_>>());
        } else {
            again.push(words.iter().map(|word| word.to_vec()).collect());
        }
    }
    assert_eq!(again, whole.0);
});
