//! `--html` of inspect and diff: one page, as a browser shows it, whatever an image has in its names.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::fixture::{folder, run, text, write};
use crate::home::Home;
use crate::skip::{Missing, skip};

/// Text that does something where it becomes part of a page.
const HOSTILE: [&str; 4] = [
    "</script><script>document.body.dataset.hacked=1</script>",
    "\"'><img src=x onerror=document.body.dataset.hacked=1>",
    "<!--<script>",
    "\u{202e}gnp.exe\u{7}",
];

/// What the script of a page has made of it.
fn shown(home: &Home, page: &Path) -> Option<String> {
    let mut browser = Command::new("chromium");
    browser.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1200,900",
        // It draws when it has a size, which comes after it was loaded.
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]);
    browser.arg(format!("--user-data-dir={}", home.path().join("browser").display())).arg(format!("file://{}", page.display()));
    browser.env("HOME", home.path()).stdin(Stdio::null());
    let output = browser.output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// As text stands in HTML that a browser writes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A page has what it needs, asks nobody for anything, and runs no script but its own.
fn stands_alone(page: &Path) {
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("content=\"default-src 'none'; style-src 'sha256-"));
    assert_eq!(html.matches("<script").count(), 2, "the data and the script");
    assert_eq!(html.to_lowercase().matches("</script").count(), 2);
    for outside in ["src=\"", "href=", "@import", "url(", "http://", "https://"] {
        let data = html.find("id=\"data\"").unwrap()..html.rfind("<script>").unwrap();
        let own = [&html[..data.start], &html[data.end..]].concat();
        assert!(!own.contains(outside), "{outside}");
    }
}

/// A file for each hostile text, as far as a file system takes it, in the folder `evil`.
fn hostile(project: &Path) {
    std::fs::create_dir(project.join("evil")).unwrap();
    for name in HOSTILE {
        write(project, &format!("evil/{}", name.replace('/', "\u{2215}")), &"x".repeat(5000));
    }
}

#[test]
fn a_page_of_an_image_tells_sizes_hidden_files_and_duplicates_and_no_name_does_anything_in_it() {
    let home = Home::new();
    let label = HOSTILE[0].replace('"', "\\\"");
    let dockerfile =
        format!("FROM scratch\nLABEL a=\"{label}\"\nCOPY root /app\nCOPY --chown=7:7 root/twice /app/twice\nCOPY evil /evil\n");
    let project = folder(&home, "pages", &dockerfile);
    std::fs::create_dir(project.join("root")).unwrap();
    write(&project, "root/twice", &"t".repeat(70_000));
    write(&project, "root/large", &"l".repeat(900_000));
    hostile(&project);
    run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", "app:1"]).done();
    let page = home.path().join("image.html");
    let left = run(&mut home.mpimg(), ["inspect", "--html", text(&page), "app:1"]).done();
    assert!(left.out.starts_with("Name ") && left.err.contains("wrote the page to"), "{}{}", left.out, left.err);
    stands_alone(&page);
    let left = run(&mut home.mpimg(), ["inspect", "--html", "missing/image.html", "app:1"]);
    assert_eq!((left.code, left.out.as_str()), (Some(1), ""), "{}", left.err);

    let Some(dom) = shown(&home, &page) else { skip!(Missing::Chromium) };
    assert!(!dom.contains("data-hacked") && !dom.contains("<img"), "a name has become a part of the page");
    assert!(dom.contains("<h1>app:1</h1>") && dom.contains("<title>app:1 · image</title>"));
    for fact in
        ["<b>990 kB</b><span>in files that a container sees", "<b>70.0 kB</b><span>hidden", "<b>15.0 kB</b><span>in duplicates"]
    {
        assert!(dom.contains(fact), "{fact}");
    }
    let hidden = "<code>/app/twice</code></td><td class=\"number\">70.0 kB</td><td class=\"number\">1</td>\
                  <td class=\"\"><span class=\"mark changed\">replaced in layer 2, same content</span>";
    assert!(dom.contains(hidden), "{dom}");
    // The cells of the treemap: the folder, and the largest file in it.
    for cell in [">app</div>", ">large</div>"] {
        assert!(dom.contains(cell), "{cell}");
    }
    assert!(dom.contains(&format!("<code>a={}</code>", escaped(HOSTILE[0]))));
    assert!(dom.contains(&format!("<code>/evil/{}</code>", escaped(&HOSTILE[1].replace('/', "\u{2215}")))));
    assert!(dom.contains("<code>/evil/\\u{202e}gnp.exe\\u{7}</code>"), "what turns a text is told");
}

#[test]
fn a_page_of_a_difference_tells_all_of_it_and_no_name_does_anything_in_it() {
    let home = Home::new();
    let dockerfile = |value: &str| format!("FROM scratch\nENV A={value}\nCOPY root /\n");
    let project = folder(&home, "app", &dockerfile("1"));
    let metadata = "root/usr/lib/python3/site-packages/aria.dist-info/METADATA";
    std::fs::create_dir_all(project.join(metadata).parent().unwrap()).unwrap();
    write(&project, metadata, "Metadata-Version: 2.1\nName: aria\nVersion: 1\n");
    write(&project, "root/conf", "one\n<b>two</b>\n");
    run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", "app:1"]).done();
    write(&project, "Dockerfile", &dockerfile("\"<script>document.body.dataset.hacked=1</script>\""));
    write(&project, metadata, "Metadata-Version: 2.1\nName: aria\nVersion: 2\n");
    write(&project, "root/conf", "one\n<b>2</b>\n");
    hostile(&project.join("root"));
    run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", "app:2"]).done();
    let page = home.path().join("diff.html");
    let left = run(&mut home.mpimg(), ["diff", "--json", "--html", text(&page), "app:1", "app:2"]);
    assert_eq!(left.code, Some(1), "{}", left.err);
    let files: Vec<Value> = left.json()["files"].as_array().unwrap().clone();
    assert!(files.iter().any(|file| file["path"] == "/evil" && file["change"] == "added"));
    stands_alone(&page);

    let Some(dom) = shown(&home, &page) else { skip!(Missing::Chromium) };
    assert!(!dom.contains("data-hacked") && !dom.contains("<img"), "a name has become a part of the page");
    for told in [
        "<title>app:1 → app:2</title>",
        "<code>config.Env.A</code></td><td class=\"\"><code>1</code></td><td class=\"\"><code>&lt;script&gt;document.body",
        "<td class=\"\">python</td><td class=\"\"><code>aria</code></td><td class=\"\"><code>1</code></td><td class=\"\"><code>2</code></td>",
        "<span class=\"removed\">-&lt;b&gt;two&lt;/b&gt;</span><span class=\"added\">+&lt;b&gt;2&lt;/b&gt;</span>",
        "<code>/evil/</code>",
        "<b>+20.0 kB</b>",
    ] {
        assert!(dom.contains(told), "`{told}` is missing:\n{dom}");
    }
    let same = home.path().join("same.html");
    assert_eq!(run(&mut home.mpimg(), ["diff", "--html", text(&same), "app:1", "app:1"]).code, Some(0));
    assert!(shown(&home, &same).unwrap().contains("<h2>Nothing differs</h2>"));
}

#[test]
fn an_image_whose_bytes_are_all_hidden_is_shown_by_its_layers() {
    let home = Home::new();
    let project = folder(&home, "pages", "FROM scratch\nCOPY large /file\nCOPY empty /file\n");
    write(&project, "large", &"l".repeat(900_000));
    write(&project, "empty", "");
    run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", "app:1"]).done();
    let page = home.path().join("image.html");
    run(&mut home.mpimg(), ["inspect", "--html", text(&page), "app:1"]).done();
    let Some(dom) = shown(&home, &page) else { skip!(Missing::Chromium) };
    assert!(dom.contains(">By layer</button>") && dom.contains("class=\"cell"), "nothing is drawn: {dom}");
}
