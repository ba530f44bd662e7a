//! One pass over a record that keeps where the wanted values stand.

use std::fmt;
use std::ops::Range;

use cairn_model::FieldPath;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fault;
use crate::scan;
use crate::source::{BadClass, BadRecord};

/// The fields that are looked for, and where the last record had them.
#[derive(Debug)]
pub(super) struct Wanted {
    fields: Vec<Node>,
    /// By slot: the bytes of the value in the record.
    found: Vec<Option<Range<usize>>>,
}

/// A name that begins or ends a wanted path.
#[derive(Debug, Default)]
struct Node {
    name: String,
    /// Slots of the paths that end here.
    slots: Vec<usize>,
    /// What is wanted within.
    fields: Vec<Node>,
}

impl Wanted {
    /// Wants each of `paths`, whose index is its slot.
    pub(super) fn new(paths: &[&FieldPath]) -> Self {
        let mut top = Node::default();
        for (slot, path) in paths.iter().enumerate() {
            let mut node = &mut top;
            for name in &path.0 {
                let index = node.fields.iter().position(|field| field.name == *name).unwrap_or_else(|| {
                    node.fields.push(Node { name: name.clone(), ..Node::default() });
                    node.fields.len() - 1
                });
                node = &mut node.fields[index];
            }
            node.slots.push(slot);
        }
        Self { fields: top.fields, found: vec![None; paths.len()] }
    }

    /// Finds the values in `json` and returns it as text.
    pub(super) fn find<'a>(&mut self, json: &'a [u8]) -> Result<&'a str, BadRecord> {
        let text = std::str::from_utf8(json).map_err(|error| {
            let error = format!("byte {} of the record is not UTF-8", error.valid_up_to() + 1);
            BadRecord::new(BadClass::Encoding, error, json)
        })?;
        self.found.fill(None);
        if scan_for(&self.fields, &mut self.found, json) {
            return Ok(text);
        }
        self.found.fill(None);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let walk = Walk { fields: &self.fields, found: &mut self.found, start: address(text) };
        let walked = deserializer.deserialize_map(walk).and_then(|()| deserializer.end());
        walked.map_err(|error| fault::json(&error, json))?;
        Ok(text)
    }

    /// Returns the value in a slot as it is written in `text`, the record.
    pub(super) fn value<'a>(&self, slot: usize, text: &'a str) -> Option<&'a str> {
        self.found[slot].clone().map(|range| &text[range])
    }
}

/// Finds the values in a record that is plainly one object; false where the parser must look.
fn scan_for(fields: &[Node], found: &mut [Option<Range<usize>>], json: &[u8]) -> bool {
    let end = scan_object(fields, found, json, scan::blank(json, 0));
    end.is_some_and(|end| scan::blank(json, end) == json.len())
}

fn scan_object(
    fields: &[Node],
    found: &mut [Option<Range<usize>>],
    json: &[u8],
    start: usize,
) -> Option<usize> {
    scan::object(json, start, &mut |name, at| {
        let Some(node) = fields.iter().find(|node| node.name.as_bytes() == name) else {
            return scan::value(json, at);
        };
        if !node.fields.is_empty() {
            forget(&node.fields, found);
        }
        let end = if !node.fields.is_empty() && json.get(at) == Some(&b'{') {
            scan_object(&node.fields, found, json, at)?
        } else {
            scan::value(json, at)?
        };
        for slot in &node.slots {
            found[*slot] = Some(at..end);
        }
        Some(end)
    })
}

struct Walk<'w> {
    fields: &'w [Node],
    found: &'w mut [Option<Range<usize>>],
    /// Where the record begins in memory: values are told by their distance from it.
    start: usize,
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(node) = map.next_key_seed(Name(self.fields))? {
            let Some(node) = node else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value::<&'de RawValue>()?.get();
            let start = address(value) - self.start;
            for slot in &node.slots {
                self.found[*slot] = Some(start..start + value.len());
            }
            if !node.fields.is_empty() {
                // An earlier field of the same name does not count, nor does what it held.
                forget(&node.fields, self.found);
                if value.starts_with('{') {
                    let within = Walk { fields: &node.fields, found: &mut *self.found, start: self.start };
                    serde_json::Deserializer::from_str(value)
                        .deserialize_map(within)
                        .map_err(Error::custom)?;
                }
            }
        }
        Ok(())
    }
}

fn forget(fields: &[Node], found: &mut [Option<Range<usize>>]) {
    for node in fields {
        node.slots.iter().for_each(|slot| found[*slot] = None);
        forget(&node.fields, found);
    }
}

fn address(text: &str) -> usize {
    text.as_ptr().addr()
}

/// Tells which of the fields a name is.
#[derive(Clone, Copy)]
struct Name<'w>(&'w [Node]);

impl<'de, 'w> DeserializeSeed<'de> for Name<'w> {
    type Value = Option<&'w Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for Name<'w> {
    type Value = Option<&'w Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|node| node.name == name))
    }
}
