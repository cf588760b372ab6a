//! Tests of rules as packets meet them: each match and target alone, the walk, and the cache against the walk.

mod lab;
mod many;
mod matching;
mod targets;
mod walks;
