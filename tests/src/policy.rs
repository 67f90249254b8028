//! Policy texts for tests: said in code, read by the host as any operator's file.

use std::path::PathBuf;

/// A policy file in the making.
#[derive(Clone, Debug, Default)]
pub struct PolicyText {
    limits: Vec<(String, String, String)>,
    import_roots: Vec<(String, PathBuf)>,
    export_roots: Vec<(String, PathBuf)>,
    components: Vec<(String, String)>,
    extra: String,
}

impl PolicyText {
    /// `[limits.TABLE] KEY = VALUE`, the value as TOML; the last word on a key counts.
    pub fn limit(&mut self, table: &str, key: &str, value: &str) -> &mut Self {
        self.limits.retain(|(of, name, _)| (of.as_str(), name.as_str()) != (table, key));
        self.limits.push((table.to_owned(), key.to_owned(), value.to_owned()));
        self
    }

    pub fn import_root(&mut self, name: &str, path: impl Into<PathBuf>) -> &mut Self {
        self.import_roots.push((name.to_owned(), path.into()));
        self
    }

    pub fn export_root(&mut self, name: &str, path: impl Into<PathBuf>) -> &mut Self {
        self.export_roots.push((name.to_owned(), path.into()));
        self
    }

    /// Allows one component, with all its tools.
    pub fn component(&mut self, name: &str, digest: &str) -> &mut Self {
        self.components.push((name.to_owned(), digest.to_owned()));
        self
    }

    /// TOML that stands at the end as it is.
    pub fn raw(&mut self, toml: &str) -> &mut Self {
        self.extra.push_str(toml);
        self
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut text = String::from("version = 1\nname = \"test\"\n");
        for table in ["compile", "guest", "step", "run", "caller", "host"] {
            let rows: Vec<_> = self.limits.iter().filter(|(of, _, _)| of == table).collect();
            if rows.is_empty() {
                continue;
            }
            line(&mut text, &format!("\n[limits.{table}]"));
            for (_, key, value) in rows {
                line(&mut text, &format!("{key} = {value}"));
            }
        }
        for (kind, roots) in [("import_root", &self.import_roots), ("export_root", &self.export_roots)] {
            for (name, path) in roots {
                line(&mut text, &format!("\n[[{kind}]]\nname = \"{name}\"\npath = \"{}\"", path.display()));
                line(&mut text, "projects = [\"default\"]");
            }
        }
        for (name, digest) in &self.components {
            line(&mut text, &format!("\n[[component]]\ndigest = \"{digest}\"\nname = \"{name}\""));
            line(&mut text, "serve = true\ntools = \"all\"");
        }
        line(&mut text, "\n[[project]]\nname = \"default\"\ncomponents = \"all\"");
        text.push_str(&self.extra);
        text
    }
}

fn line(text: &mut String, add: &str) {
    text.push_str(add);
    text.push('\n');
}
