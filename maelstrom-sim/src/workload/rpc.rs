//! Declarations of requests and replies. They check the replies of nodes, and document the protocol
//! for authors of nodes.

use std::fmt;

use serde_json::value::RawValue;

use crate::json::is_integer;

/// A request and its reply.
///
/// ```
/// use maelstrom_sim::workload::{Echo, Rpc, Schema, Workload};
///
/// let rpc: &Rpc = &Echo::default().rpcs()[0];
/// assert_eq!((rpc.name, rpc.reply[0].name), ("echo", "echo"));
/// let read = |text| (Schema::LIST.read)(serde_json::from_str(text).unwrap());
/// assert_eq!(read("[1, 2]").unwrap().get(), "[1, 2]");
/// assert_eq!(read("3").unwrap_err(), "is not a list");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rpc {
    /// The type of the request. The type of the reply is the same with `_ok` appended.
    pub name: &'static str,
    /// The node's task, in one sentence.
    pub about: &'static str,
    /// The fields of the request beside its type and id.
    pub request: &'static [Field],
    /// The fields that the reply must have beside its type and ids. No others are allowed. The
    /// first field is the result of the request.
    pub reply: &'static [Field],
}

/// A field of a request or a reply.
///
/// ```
/// use maelstrom_sim::workload::{Field, Schema};
///
/// const ID: Field = Field::new("id", Schema::INTEGER, "7", "The number of the page.");
/// // The example is a value of the field.
/// assert!((ID.schema.read)(serde_json::from_str(ID.example)?).is_ok());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The values that it may have.
    pub schema: Schema,
    /// An example of such a value, as JSON.
    pub example: &'static str,
    /// The meaning of the value, in one sentence.
    pub about: &'static str,
}

impl Field {
    /// A field with all its parts.
    #[must_use]
    pub const fn new(
        name: &'static str,
        schema: Schema,
        example: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, schema, example, about }
    }
}

/// The values that a field may have. [`Rpc`] shows it in use.
#[derive(Clone, Copy)]
pub struct Schema {
    /// A noun for the value, with its article: "a list".
    pub name: &'static str,
    /// Parses a value of a reply. Returns the value for the history, or an error that continues a
    /// sentence after the name of the field ("is not a list").
    ///
    /// Null in place of a list counts as an empty list, because Maelstrom's schemas accept a nil
    /// slice of a Go program. Null in place of an object is malformed.
    pub read: fn(&RawValue) -> Result<Box<RawValue>, String>,
}

impl Schema {
    /// Any JSON value.
    pub const ANY: Self = Self { name: "any JSON value", read: |value| Ok(value.to_owned()) };

    /// An integer of at most 64 bits.
    pub const INTEGER: Self = Self { name: "an integer", read: integer };

    /// A string.
    pub const STRING: Self = Self { name: "a string", read: string };

    /// A list. Null counts as an empty one.
    pub const LIST: Self = Self { name: "a list", read: list };
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The error for an integer of more than 64 bits.
pub(super) const TOO_WIDE: &str = "does not fit in 64 bits";

fn integer(value: &RawValue) -> Result<Box<RawValue>, String> {
    match value.get().parse::<i64>() {
        Ok(_) => Ok(value.to_owned()),
        Err(_) if is_integer(value) => Err(TOO_WIDE.into()),
        Err(_) => Err("is not an integer".into()),
    }
}

fn string(value: &RawValue) -> Result<Box<RawValue>, String> {
    if value.get().starts_with('"') { Ok(value.to_owned()) } else { Err("is not a string".into()) }
}

/// A list as received. Null counts as an empty list.
pub(super) fn list(value: &RawValue) -> Result<Box<RawValue>, String> {
    match value.get() {
        "null" => RawValue::from_string("[]".into()).map_err(|error| error.to_string()),
        text if text.starts_with('[') => Ok(value.to_owned()),
        _ => Err("is not a list".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::workload::built_in;

    #[test]
    fn every_example_of_a_built_in_workload_fits_its_own_schema() {
        for entry in built_in() {
            let workload = entry.workload();
            let names: BTreeSet<_> = workload.rpcs().iter().map(|rpc| rpc.name).collect();
            assert_eq!(names.len(), workload.rpcs().len(), "{}", workload.name());
            for rpc in workload.rpcs() {
                for field in rpc.request.iter().chain(rpc.reply) {
                    let example: Box<RawValue> = serde_json::from_str(field.example).unwrap();
                    assert!((field.schema.read)(&example).is_ok(), "{} {}", rpc.name, field.name);
                }
            }
        }
    }

    #[test]
    fn schemas_refuse_other_types() {
        let fits = |schema: Schema, text: &str| {
            (schema.read)(&RawValue::from_string(text.to_owned()).unwrap()).is_ok()
        };
        for (schema, good, bad) in [
            (Schema::INTEGER, "-3", "3.0"),
            (Schema::STRING, r#""3""#, "3"),
            (Schema::LIST, "null", "{}"),
        ] {
            assert!(fits(schema, good) && !fits(schema, bad), "{schema:?}");
        }
        assert!(fits(Schema::ANY, "null"));
    }
}
