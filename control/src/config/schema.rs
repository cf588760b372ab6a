//! The JSON schema of the configuration, for editors and other tools.

use proto::config::Config;

/// The schema (JSON Schema 2020-12) as text; `configs/vswitch.schema.json` is this.
pub fn text() -> String {
    let schema = schemars::schema_for!(Config);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
