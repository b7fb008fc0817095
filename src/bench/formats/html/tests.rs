use super::*;
use crate::bench::formats::sample;

/// The page as XML, which it is meant to be too but for its first line and the
/// elements without an end.
fn elements(page: &str) -> Vec<String> {
    let tags = page.split('<').skip(1).filter_map(|rest| rest.split(['>', ' ', '/', '\n']).next());
    tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = html(&sample());
    for wanted in [
        "script", "link", "img", "iframe", "object", "@import", "url(", "http://", "https://",
        "onload",
    ] {
        let found = elements(&page).iter().any(|tag| tag == wanted);
        assert!(!found, "{wanted}");
        if wanted.contains(['@', '(', ':']) {
            assert!(!page.contains(wanted), "{wanted}");
        }
    }
}

#[test]
fn there_is_a_waterfall_for_each_entry_and_a_distribution_for_each_metric() {
    let page = html(&sample());
    assert_eq!(page.matches("aria-label=\"Phases of ").count(), 2);
    assert_eq!(page.matches("aria-label=\"Distribution of total\"").count(), 1);
    assert_eq!(page.matches("aria-label=\"Distribution of load\"").count(), 1);
    assert!(page.contains("class=\"outlier\""), "the spike of the sample is marked");
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn what_a_file_is_called_is_text_and_no_markup() {
    let mut report = sample();
    for entry in &mut report.entries {
        entry.name = "<b>&\"'x\u{1b}[31m".to_owned();
        entry.cmdline = "</style><script>alert(1)</script>".to_owned();
    }
    let page = html(&report);
    assert!(!page.contains("<b>"), "not escaped");
    assert!(!page.contains("<script"), "not escaped");
    assert!(!page.contains('\u{1b}'), "not made visible");
}

#[test]
fn every_element_that_is_opened_is_closed() {
    let page = html(&sample());
    for tag in
        ["html", "body", "main", "section", "svg", "table", "tr", "td", "figure", "details", "text"]
    {
        let opened = elements(&page).iter().filter(|element| element.as_str() == tag).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        assert!(opened > 0, "{tag}");
    }
}
