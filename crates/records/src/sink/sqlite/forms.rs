//! A number, a boolean and the string that reads like it are two keys for cairn and one value for a column: two *forms*, of
//! which a load may use one. The first that is written decides; it is remembered with the load, so that another try says the
//! same.

use crate::sink::apart::as_float;
use crate::sink::record::Value;

/// The words for how a key's value came.
pub(super) type Form = &'static str;

const NUMBER: Form = "a number";
const BOOLEAN: Form = "a boolean";
const TEXT: Form = "a string";

/// In which form the first value of each key column came.
#[derive(Debug, Clone, Default)]
pub(super) struct Forms {
    known: Vec<(String, Form)>,
    /// Whether what earlier tries remembered is among them.
    read: bool,
}

impl Forms {
    /// Takes in what earlier tries remembered, once.
    pub(super) fn remembered<E>(
        &mut self,
        read: impl FnOnce() -> Result<Vec<(String, String)>, E>,
    ) -> Result<(), E> {
        if !self.read {
            let forms = read()?.into_iter().filter_map(|(column, form)| {
                Some((column, [NUMBER, BOOLEAN, TEXT].into_iter().find(|known| *known == form)?))
            });
            self.known.extend(forms);
            self.read = true;
        }
        Ok(())
    }

    /// Returns those that were not known `before`.
    pub(super) fn since<'f>(&'f self, before: &Self) -> impl Iterator<Item = (&'f str, Form)> + use<'f> {
        self.known[before.known.len()..].iter().map(|(column, form)| (column.as_str(), *form))
    }

    /// Returns whether values in these forms can stand beside those before them.
    pub(super) fn allow(&self, forms: &Self) -> bool {
        forms.known.iter().all(|(column, form)| self.of(column).is_none_or(|known| known == *form))
    }

    /// Takes in those that are not known yet.
    pub(super) fn take_in(&mut self, forms: &Self) {
        for (column, form) in &forms.known {
            if self.of(column).is_none() {
                self.known.push((column.clone(), form));
            }
        }
    }

    fn of(&self, column: &str) -> Option<Form> {
        self.known.iter().find(|(name, _)| name == column).map(|(_, form)| *form)
    }

    /// Says why a value of `form` cannot be a key of `column` beside those before it.
    pub(super) fn other(&mut self, column: &str, form: Form) -> Option<String> {
        let Some(first) = self.of(column) else {
            self.known.push((column.to_owned(), form));
            return None;
        };
        (first != form).then(|| {
            format!(
                "the key field `{column}` is {form} here and {first} elsewhere: SQLite would make one row of both; \
                 have the worker write it in one way"
            )
        })
    }
}

/// Returns the form of a key's value in a column of texts: one that reads like a number or a boolean would be one with it.
pub(super) fn as_text(value: &Value<'_>) -> Option<Form> {
    match value {
        Value::Number(_) => Some(NUMBER),
        Value::Bool(_) => Some(BOOLEAN),
        Value::Text(text) => {
            let is_alike = matches!(text.as_ref(), "true" | "false") || as_float(text).is_some();
            is_alike.then_some(TEXT)
        }
        Value::Null | Value::Nested(_) => None,
    }
}

/// Returns the form of a key's value in a column of numbers.
pub(super) fn as_number(value: &Value<'_>) -> Option<Form> {
    match value {
        Value::Number(_) => Some(NUMBER),
        Value::Bool(_) => Some(BOOLEAN),
        Value::Text(text) => as_float(text).map(|_| TEXT),
        Value::Null | Value::Nested(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_writes_a_key_in_one_form() {
        let mut forms = Forms::default();
        assert_eq!(forms.other("id", NUMBER), None);
        assert_eq!(forms.other("of", TEXT), None, "each column has its own");
        assert!(forms.other("id", TEXT).is_some_and(|told| told.contains("a string here and a number")));
        assert_eq!(forms.other("id", NUMBER), None, "the first stays");
        let mut ahead = Forms::default();
        assert_eq!(ahead.other("at", NUMBER), None);
        assert!(forms.allow(&ahead));
        forms.take_in(&ahead);
        assert_eq!(ahead.other("id", TEXT), None);
        assert!(!forms.allow(&ahead));
        assert!(forms.other("at", TEXT).is_some());
    }
}
