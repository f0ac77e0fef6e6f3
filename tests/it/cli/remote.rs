//! Images in registries: pushed by name, pulled, listed, deleted.

use serde_json::json;

use super::fixture::{DOCKERFILE, Serving, folder, project, run, text, write};
use crate::home::Home;

#[test]
fn an_image_goes_to_where_its_name_says_under_its_own_tag() {
    let (home, registry) = (Home::new(), Serving::open());
    let folder = folder(&home, "plain", DOCKERFILE);
    let name = format!("{}/mp/app:7", registry.host);
    let built = run(&mut home.mpimg(), ["build", "-q", text(&folder), "-t", &name, "-t", "app:8"]).done().out;
    let pushed = run(&mut home.mpimg(), ["push", "--json", &name]).done().json();
    assert_eq!(pushed["repository"], format!("{}/mp/app", registry.host));
    assert_eq!((&pushed["tag"], &pushed["digest"]), (&json!("7"), &json!(built.trim_end())));

    // A name alone says nothing of a registry; and in a project, config.json is not taken without a
    // word.
    let left = run(&mut home.mpimg(), ["push", "app:8"]);
    assert_eq!(left.code, Some(2));
    let expected = "error: `app:8` does not name a repository to push to\nhint: give it with `-r HOST/PATH`, or name the image";
    assert!(left.err.starts_with(expected), "{}", left.err);
    let project = project(&home);
    write(&project, "config.json", &json!({ "container_repository": format!("{}/mp/project", registry.host) }).to_string());
    let left = run(home.mpimg().current_dir(&project), ["push", "--image", "app:8"]);
    assert_eq!(left.code, Some(2));
    assert!(left.err.contains(&format!("hint: give one with `-r {}/mp/project`", registry.host)), "{}", left.err);
    let other = format!("{}/mp/other", registry.host);
    let pushed = run(home.mpimg().current_dir(&project), ["push", "--json", "app:8", "-r", &other]).done().json();
    assert_eq!((&pushed["tag"], &pushed["repository"]), (&json!("8"), &json!(other)));

    for (subject, expected) in [
        ("app:9", "error: `app:9` is neither a folder nor an image of the local store\nhint: name a project's folder"),
        ("./missing", "error: there is no folder `./missing`\nhint: name the folder of a project"),
    ] {
        let left = run(&mut home.mpimg(), ["push", subject]);
        assert_eq!(left.code, Some(1));
        assert!(left.err.starts_with(expected), "{}", left.err);
    }
}

#[test]
fn an_image_is_pulled_listed_and_deleted() {
    let (home, other, registry) = (Home::new(), Home::new(), Serving::open());
    let folder = folder(&home, "plain", DOCKERFILE);
    let repository = format!("{}/mp/app", registry.host);
    let pushed = run(&mut home.mpimg(), ["push", "--json", text(&folder), "-r", &repository, "-t", "1", "-t", "2"]).done().json();
    let digest = pushed["digest"].as_str().unwrap();

    assert_eq!(run(&mut other.mpimg(), ["tags", &repository]).done().out, "1\n2\n");
    assert_eq!(run(&mut other.mpimg(), ["tags", "--json", &repository]).done().json()["tags"], json!(["1", "2"]));
    let name = format!("{repository}:1");
    let pulled = run(&mut other.mpimg(), ["pull", &name]).done();
    assert_eq!(pulled.out, format!("{digest}\n"));
    assert!(pulled.err.contains(&format!("`{name}` is in the local store")), "{}", pulled.err);
    assert_eq!(run(&mut other.mpimg(), ["pull", "--json", &name]).done().json()["up_to_date"], true);

    assert_eq!(run(&mut other.mpimg(), ["rm", "--remote", &name]).done().out, format!("Deleted: {name}\n"));
    assert_eq!(run(&mut other.mpimg(), ["tags", &repository]).done().out, "2\n");
    let left = run(&mut other.mpimg(), ["rm", "--remote", &name]);
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains(&format!("\nerror: there is no `{name}` in its registry\nhint: `mpimg tags")), "{}", left.err);
    run(&mut other.mpimg(), ["rm", "--remote", &format!("{repository}@{digest}")]).done();
    assert_eq!(run(&mut other.mpimg(), ["tags", &repository]).done().out, "");
    // What was pulled is here to stay: its layers, too.
    drop(registry);
    run(&mut other.mpimg(), ["save", &name, "-o", "app.tar"]).done();
}
