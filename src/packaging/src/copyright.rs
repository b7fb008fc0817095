//! The copyright file of the Debian package, in the form of its policy.

use std::fmt::Write as _;

use crate::dependencies::Tree;

/// Ours, and what is linked into the program, each under its own.
#[must_use]
pub fn copyright(tree: &Tree) -> String {
    let mut text = HEAD.to_owned();
    for package in tree.packages.iter().filter(|package| package.is_linked && !package.is_ours) {
        let licence = package.licence.replace('/', " OR ");
        // The line is there to be read: a failure to write to memory is none.
        let _ = writeln!(text, "  {} {}: {licence}", package.name, package.version);
    }
    text.push_str(TAIL);
    text
}

const HEAD: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: ukivm
Comment: The program is one static file. It has these packages in it, each under the
 licence that is named here, and the GNU C library (LGPL-2.1 or later, see
 /usr/share/common-licenses/LGPL-2.1), which `cargo build --release` links from the
 host instead:
 .
";

const TAIL: &str = "
Files: *
Copyright: 2026 The ukivm contributors
License: Apache-2.0 or Expat

License: Apache-2.0
 See /usr/share/common-licenses/Apache-2.0.

License: Expat
 Permission is hereby granted, free of charge, to any person obtaining a copy
 of this software and associated documentation files (the \"Software\"), to deal
 in the Software without restriction, including without limitation the rights
 to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 copies of the Software, and to permit persons to whom the Software is
 furnished to do so, subject to the following conditions:
 .
 The above copyright notice and this permission notice shall be included in all
 copies or substantial portions of the Software.
 .
 THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 SOFTWARE.
";
