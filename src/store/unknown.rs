//! The fields of a document that its state does not write, at any depth. A newer program wrote them, and they are
//! carried over.

use serde_json::{Map, Value};

/// The unknown fields of one object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unknown {
    fields: Map<String, Value>,
    /// The unknown fields inside of the known objects.
    inner: Vec<(String, Unknown)>,
}

impl Unknown {
    /// Returns the fields of a text that are missing in `own`, which the program wrote from the state that it read
    /// there.
    ///
    /// # Errors
    /// When one of the texts is no JSON.
    pub(crate) fn of(text: &[u8], own: &[u8]) -> serde_json::Result<Self> {
        Ok(match (serde_json::from_slice(text)?, serde_json::from_slice(own)?) {
            (Value::Object(all), Value::Object(own)) => Self::between(all, &own),
            _ => Self::default(),
        })
    }

    fn between(all: Map<String, Value>, own: &Map<String, Value>) -> Self {
        let mut unknown = Self::default();
        for (name, value) in all {
            match (value, own.get(&name)) {
                (value, None) => {
                    unknown.fields.insert(name, value);
                }
                (Value::Object(all), Some(Value::Object(own))) => {
                    let inner = Self::between(all, own);
                    if !inner.is_empty() {
                        unknown.inner.push((name, inner));
                    }
                }
                _ => {}
            }
        }
        unknown
    }

    /// Returns whether there are no unknown fields.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.inner.is_empty()
    }

    /// Returns the program's text with these fields. The fields of an object that is gone are dropped.
    ///
    /// # Errors
    /// When the text is no JSON.
    pub(crate) fn carried(&self, written: &str) -> serde_json::Result<String> {
        let mut value: Value = serde_json::from_str(written)?;
        self.carry(&mut value);
        Ok(value.to_string())
    }

    fn carry(&self, into: &mut Value) {
        let Value::Object(written) = into else { return };
        for (name, value) in &self.fields {
            written.entry(name).or_insert_with(|| value.clone());
        }
        for (name, inner) in &self.inner {
            if let Some(written) = written.get_mut(name) {
                inner.carry(written);
            }
        }
    }
}
