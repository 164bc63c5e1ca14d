//! A chat template, rendered as transformers renders it: Jinja2 with
//! trim_blocks, lstrip_blocks, loop controls, Python's string methods, and the
//! functions raise_exception and strftime_now.

use std::io::Write;
use std::sync::Arc;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, TimeZone};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use crate::bounded::{self, Losses};
use crate::python;
use crate::status::{utf8, Code, Failure, Result};

const NAME: &str = "chat_template";
/// Instructions of one rendering; a message takes some tens.
const FUEL: u64 = 4_000_000;
/// Deep expressions and macros take stack; templates in use need under 10.
const RECURSION_LIMIT: usize = 100;
const SOURCE_LIMIT_BYTES: usize = 256 << 10;
const OUTPUT_LIMIT_BYTES: usize = 16 << 20;

pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    losses: Losses,
}

/// The message of raise_exception, as the source of the engine's error.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise_exception(message: Value) -> std::result::Result<Value, Error> {
    let raised = Raised(message.to_string());
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception")
        .with_source(raised))
}

fn strftime<Zone: TimeZone>(
    format: &str,
    time: &DateTime<Zone>,
) -> std::result::Result<String, Error>
where
    Zone::Offset: std::fmt::Display,
{
    let items: Vec<Item> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        let what = format!("strftime_now does not know the format '{format}'");
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    Ok(time.format_with_items(items.iter()).to_string())
}

fn strftime_now(format: &str) -> std::result::Result<String, Error> {
    strftime(format, &chrono::Local::now())
}

/// The same templates at a time of the caller's, in seconds since 1970.
fn at_time(
    environment: &Environment<'static>,
    seconds: i64,
) -> Result<Environment<'static>> {
    let time = DateTime::from_timestamp(seconds, 0).ok_or_else(|| {
        Failure::invalid(format!("chat: {seconds} seconds are no time"))
    })?;
    let mut environment = environment.clone();
    environment.add_function("strftime_now", move |format: String| {
        strftime(&format, &time)
    });
    Ok(environment)
}

/// Writes at most OUTPUT_LIMIT_BYTES.
struct BoundedOutput(Vec<u8>);

impl Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_LIMIT_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn failure(error: &Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return Failure::invalid(message.clone());
        }
        if let Some(inner) = current.downcast_ref::<Error>() {
            match inner.kind() {
                ErrorKind::OutOfFuel => {
                    let what = format!(
                        "the chat template runs more than {FUEL} instructions"
                    );
                    return Failure::new(Code::ResourceExhausted, what);
                }
                ErrorKind::WriteFailure => {
                    let limit = OUTPUT_LIMIT_BYTES >> 20;
                    let what = format!(
                        "the chat template writes more than {limit} MiB"
                    );
                    return Failure::new(Code::ResourceExhausted, what);
                }
                _ => {}
            }
        }
        cause = current.source();
    }
    Failure::invalid(format!("chat template: {error}"))
}

/// `{% generation %}` marks the assistant's tokens for training and prints
/// nothing; a `with` block has the same scope and whitespace rules.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let Some(length) = rest[begin..].find("%}") else { break };
        let inside = &rest[begin + 2..begin + length];
        let keyword = inside
            .trim_start_matches(['-', '+'])
            .trim_end_matches(['-', '+'])
            .trim();
        let replaced = match keyword {
            "generation" => inside.replace("generation", "with"),
            "endgeneration" => inside.replace("endgeneration", "endwith"),
            _ => inside.to_string(),
        };
        out.push_str(&rest[..begin + 2]);
        out.push_str(&replaced);
        rest = &rest[begin + length..];
    }
    out.push_str(rest);
    out
}

/// Python's string methods; strip and its kin need Python's white space.
fn call_method(
    state: &State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> std::result::Result<Value, Error> {
    if let (Some(text), []) = (value.as_str(), arguments) {
        match method {
            "strip" => return Ok(text.trim_matches(python::is_space).into()),
            "lstrip" => {
                return Ok(text.trim_start_matches(python::is_space).into())
            }
            "rstrip" => {
                return Ok(text.trim_end_matches(python::is_space).into())
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(
        state, value, method, arguments,
    )
}

fn compile(source: &str) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_LIMIT);
    environment.set_unknown_method_callback(call_method);
    environment.set_formatter(|out, _, value| {
        Ok(out.write_str(&python::text(value)?)?)
    });
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("string", |value: Value| python::text(&value));
    environment.add_filter("trim", python::trim);
    // Jinja2 reads every kind of line end as \n.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    environment
        .add_template_owned(NAME, without_generation_tags(&source))
        .map_err(|error| failure(&error))?;
    Ok(environment)
}

impl ChatTemplate {
    pub fn new(source: &[u8]) -> Result<ChatTemplate> {
        if source.len() > SOURCE_LIMIT_BYTES {
            let (size, limit) = (source.len(), SOURCE_LIMIT_BYTES);
            let what = format!(
                "the chat template has {size} bytes; the limit is {limit}"
            );
            return Err(Failure::new(Code::ResourceExhausted, what));
        }
        let source = utf8(source, "chat template")?.to_string();
        let losses = Losses::default();
        let environment = bounded::run(&losses, move || compile(&source))?;
        Ok(ChatTemplate { environment: Arc::new(environment), losses })
    }

    /// `context` is a JSON object: the variables that the template sees. `now`
    /// is what strftime_now tells, in UTC; without it, the local time.
    pub fn render(&self, context: &[u8], now: Option<i64>) -> Result<Vec<u8>> {
        let context: Value =
            serde_json::from_slice(context).map_err(|error| {
                Failure::invalid(format!("chat template variables: {error}"))
            })?;
        let environment = match now {
            Some(seconds) => Arc::new(at_time(&self.environment, seconds)?),
            None => Arc::clone(&self.environment),
        };
        bounded::run(&self.losses, move || {
            let mut output = BoundedOutput(Vec::new());
            environment
                .get_template(NAME)
                .and_then(|template| {
                    template.render_captured_to(context, &mut output).map(drop)
                })
                .map_err(|error| failure(&error))?;
            Ok(output.0)
        })
    }
}
