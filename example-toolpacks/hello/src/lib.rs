//! The smallest toolpack.

use helix_toolpack::prelude::*;

/// What a caller may set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Whom to greet.
    #[serde(default = "world")]
    #[schemars(length(min = 1, max = 100))]
    name: String,
}

fn world() -> String {
    "world".to_owned()
}

/// The headline numbers.
#[derive(Serialize, JsonSchema)]
pub struct Greeted {
    /// Lines in the text that was linked, if one was.
    lines: u64,
    /// Its bytes.
    bytes: u64,
}

tool_io! {
    /// What `hello` reads and writes.
    pub struct HelloIo {
        inputs { text: [TEXT] 0..=1 "A text whose lines are counted"; }
        outputs { greeting: TEXT "greeting.txt" 1..=1 check sniff "The greeting"; }
    }
}

/// Greets.
pub struct Hello;

impl Tool for Hello {
    type Params = Params;
    type Result = Greeted;
    type Io = HelloIo;
    const NAME: &'static str = "hello";
    const TITLE: &'static str = "Say hello";
    const DESCRIPTION: &'static str =
        "Writes a greeting as a text artifact and counts the lines of a text. For trying things out.";

    fn run(params: Params, io: HelloIo, log: &Log) -> Result<Report<Greeted>, ToolError> {
        let mut greeted = Greeted { lines: 0, bytes: 0 };
        for input in io.text.iter() {
            greeted.bytes = input.linked().size_bytes;
            for line in input.open().split(b'\n') {
                line?;
                greeted.lines += 1;
            }
        }
        log.info("greeting");
        let name = params.name;
        io.greeting.write_all(format!("Hello, {name}!\n").as_bytes())?;
        let lines = greeted.lines;
        Ok(Report::new(greeted, format!("Greeted {name}; the text has {lines} lines.")))
    }
}

export_toolpack! {
    name: "hello",
    version: env!("CARGO_PKG_VERSION"),
    description: "The smallest toolpack: greets, and counts the lines of a text.",
    licence: "Apache-2.0",
    homepage: "",
    tools: [Hello],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets_whom_it_is_told_to() {
        let bench = Bench::new().input("text", "TEXT", "one\ntwo\n");
        let done = bench.run::<Hello>(r#"{"name":"Ada"}"#).unwrap();
        assert_eq!(done.output("greeting"), b"Hello, Ada!\n");
        assert_eq!(done.result, helix_toolpack::serde_json::json!({"lines": 2, "bytes": 8}));
    }
}
