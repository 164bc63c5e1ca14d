//! Values written as Python writes them: `str`, `repr` and `json.dumps`.

use std::fmt::Write;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

type Result<T> = std::result::Result<T, Error>;

/// Lists in lists; JSON input has at most 128.
const MAX_DEPTH: usize = 200;
const MAX_INDENT: usize = 64;

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn check_depth(depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(invalid(format!(
            "a value has more than {MAX_DEPTH} levels"
        )));
    }
    Ok(())
}

/// `str.isspace` of one character.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str(value)`, with nothing for an undefined one, as Jinja2 prints it.
pub fn text(value: &Value) -> Result<String> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_string());
    }
    let mut out = String::new();
    if !value.is_undefined() {
        write_repr(&mut out, value, 0)?;
    }
    Ok(out)
}

/// The trim filter: `str(value).strip(characters)`.
pub fn trim(value: Value, characters: Option<String>) -> Result<String> {
    let text = text(&value)?;
    Ok(match characters {
        Some(characters) => {
            text.trim_matches(|c| characters.contains(c)).to_string()
        }
        None => text.trim_matches(is_space).to_string(),
    })
}

fn write_repr(out: &mut String, value: &Value, depth: usize) -> Result<()> {
    check_depth(depth)?;
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => {
            out.push_str(if value.is_true() { "True" } else { "False" })
        }
        ValueKind::Number => write_number(out, value),
        ValueKind::String => quote(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            out.push('[');
            for (i, item) in value.try_iter()?.enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write_repr(out, &item, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write_repr(out, &key, depth + 1)?;
                out.push_str(": ");
                write_repr(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        _ => write!(out, "{value}")?,
    }
    Ok(())
}

fn write_number(out: &mut String, value: &Value) {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() => out.push_str(&float(number)),
        _ => out.push_str(&value.to_string()),
    }
}

/// `repr(float)`: the shortest digits, an exponent below 1e-4 and from 1e16.
fn float(number: f64) -> String {
    let magnitude = number.abs();
    if number.is_nan() {
        "nan".into()
    } else if number.is_infinite() {
        if number > 0.0 { "inf" } else { "-inf" }.into()
    } else if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let scientific = format!("{number:e}");
        let (digits, exponent) =
            scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        format!("{number:?}")
    }
}

/// `repr(str)`.
fn quote(out: &mut String, text: &str) {
    let quote =
        if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c != ' ' && (c.is_control() || is_space(c)) => {
                let code = c as u32;
                let escape = if code < 0x100 {
                    format!("\\x{code:02x}")
                } else {
                    format!("\\u{code:04x}")
                };
                out.push_str(&escape);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// The tojson filter of transformers: json.dumps with its own defaults.
pub fn tojson(
    value: Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<Value> {
    let ensure_ascii = ensure_ascii.or(options.get("ensure_ascii")?);
    let indent = match indent.or(options.get("indent")?) {
        Some(indent) if !indent.is_none() => Some(indent_text(&indent)?),
        _ => None,
    };
    let separators: Option<Value> = options.get("separators")?;
    let separators = match separators.filter(|value| !value.is_none()) {
        Some(pair) => (
            text(&pair.get_item_by_index(0)?)?,
            text(&pair.get_item_by_index(1)?)?,
        ),
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let sort_keys: Option<Value> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let mut writer = JsonWriter {
        out: String::new(),
        ensure_ascii: ensure_ascii.is_some_and(|value| value.is_true()),
        sort_keys: sort_keys.is_some_and(|value| value.is_true()),
        indent,
        separators,
    };
    writer.write(&value, 0)?;
    Ok(Value::from_safe_string(writer.out))
}

fn indent_text(indent: &Value) -> Result<String> {
    if let Some(text) = indent.as_str() {
        return Ok(text.to_string());
    }
    let width = indent.as_usize().unwrap_or(0);
    if width > MAX_INDENT {
        return Err(invalid(format!("tojson: indent is above {MAX_INDENT}")));
    }
    Ok(" ".repeat(width))
}

struct JsonWriter {
    out: String,
    ensure_ascii: bool,
    sort_keys: bool,
    indent: Option<String>,
    separators: (String, String),
}

impl JsonWriter {
    fn write(&mut self, value: &Value, depth: usize) -> Result<()> {
        check_depth(depth)?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() {
                "true"
            } else {
                "false"
            }),
            ValueKind::Number => write_number(&mut self.out, value),
            ValueKind::String => {
                self.write_string(value.as_str().unwrap_or_default())
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.write_items('[', ']', &items, depth, |writer, item| {
                    writer.write(item, depth + 1)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.write_items('{', '}', &keys, depth, |writer, key| {
                    writer.write_key(key)?;
                    let separator = writer.separators.1.clone();
                    writer.out.push_str(&separator);
                    writer.write(&value.get_item(key)?, depth + 1)
                })?;
            }
            kind => {
                return Err(invalid(format!("tojson: {kind} has no JSON form")))
            }
        }
        Ok(())
    }

    fn write_items(
        &mut self,
        open: char,
        close: char,
        items: &[Value],
        depth: usize,
        write_item: impl Fn(&mut Self, &Value) -> Result<()>,
    ) -> Result<()> {
        self.out.push(open);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                let separator = self.separators.0.clone();
                self.out.push_str(&separator);
            }
            self.new_line(depth + 1);
            write_item(self, item)?;
        }
        if !items.is_empty() {
            self.new_line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(depth));
        }
    }

    fn write_key(&mut self, key: &Value) -> Result<()> {
        if let Some(text) = key.as_str() {
            self.write_string(text);
        } else {
            self.out.push('"');
            self.write(key, MAX_DEPTH)?;
            self.out.push('"');
        }
        Ok(())
    }

    fn write_string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && c > '~') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
