//! A software bill of materials: CycloneDX 1.5, JSON.

use serde_json::{Value, json};

use super::{Package, Tree};

/// What the program is made of; `lock` is the text of `Cargo.lock`, which has the
/// digests. There is no time and no serial number in it, so that the same sources
/// make the same bytes.
#[must_use]
pub fn sbom(tree: &Tree, lock: &str) -> Value {
    let ours = tree.packages.iter().find(|package| package.name == "ukivm");
    let others = tree.packages.iter().filter(|package| package.name != "ukivm");
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": ours.map(|package| component(package, "application", lock)) },
        "components":
            others.map(|package| component(package, "library", lock)).collect::<Vec<_>>(),
        "dependencies":
            tree.packages.iter().map(|package| depends(tree, package)).collect::<Vec<_>>(),
    })
}

fn component(package: &Package, kind: &str, lock: &str) -> Value {
    let purl = (!package.is_ours).then(|| reference(package));
    let digest = digest(package, lock).map(|digest| json!({ "alg": "SHA-256", "content": digest }));
    let fields = json!({
        "type": kind,
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version,
        "licenses": [{ "expression": package.licence.replace('/', " OR ") }],
        // What only builds it is not in it.
        "scope": if package.is_linked { "required" } else { "excluded" },
        "purl": purl,
        "hashes": digest.map(|digest| [digest]),
    });
    let Value::Object(mut fields) = fields else { return fields };
    fields.retain(|_, value| !value.is_null());
    Value::Object(fields)
}

fn depends(tree: &Tree, package: &Package) -> Value {
    let needed = tree.packages.iter().filter(|other| other.parents.contains(&package.name));
    json!({
        "ref": reference(package),
        "dependsOn": needed.map(reference).collect::<Vec<_>>(),
    })
}

fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

/// The SHA-256 that the lock file has for that package's archive.
fn digest<'a>(package: &Package, lock: &'a str) -> Option<&'a str> {
    let head = format!("name = \"{}\"\nversion = \"{}\"\n", package.name, package.version);
    let entry = lock.split("[[package]]\n").find(|entry| entry.starts_with(&head))?;
    let line = entry.lines().find_map(|line| line.strip_prefix("checksum = \""))?;
    line.strip_suffix('"')
}
