//! Man pages of section 7: the topics of `ukivm help`.

use std::io;

use roff::{Inline, Roff, bold, roman};
use ukivm::help::{Block, TOPICS, Topic};

use super::Installed;

pub(super) fn all() -> io::Result<Vec<Installed>> {
    TOPICS.iter().map(page).collect()
}

fn page(topic: &Topic) -> io::Result<Installed> {
    let name = format!("ukivm-{}", topic.name);
    let title = name.to_uppercase();
    let source = concat!("ukivm ", env!("CARGO_PKG_VERSION"));
    let mut roff = Roff::new();
    roff.control("TH", [title.as_str(), "7", "", source, "ukivm manual"]);
    roff.control("SH", ["NAME"]).text([roman(format!("{name} - {}", topic.title))]);
    roff.control("SH", ["DESCRIPTION"]);
    for block in topic.blocks() {
        put(&mut roff, block);
    }
    roff.control("SH", ["SEE ALSO"]).text(see_also(topic));
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok(Installed { path: format!("share/man/man7/{name}.7").into(), text })
}

fn put(roff: &mut Roff, block: Block) {
    match block {
        Block::Heading(text) => {
            roff.control("SH", [text.as_str()]);
        }
        Block::Paragraph(text) => {
            roff.control("PP", []).text([roman(text)]);
        }
        Block::Points(points) => {
            for point in points {
                roff.control("IP", ["*", "2"]).text([roman(point)]);
            }
        }
        Block::Terms(terms) => {
            for (term, meaning) in terms {
                roff.control("TP", []).text([bold(term)]).text([roman(meaning)]);
            }
        }
        Block::Verbatim(lines) => {
            roff.control("PP", []).control("RS", ["4"]).control("EX", []);
            for line in lines {
                roff.text([roman(line)]);
            }
            roff.control("EE", []).control("RE", []);
        }
    }
}

fn see_also(own: &Topic) -> Vec<Inline> {
    let others = TOPICS.iter().filter(|topic| topic.name != own.name);
    let names = others.map(|topic| (format!("ukivm-{}", topic.name), "(7)"));
    let all = [("ukivm".to_owned(), "(1)")].into_iter().chain(names);
    super::pages::listed(all)
}
