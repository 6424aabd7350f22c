//! The library: folders, tags, search and pages of the list, and where people stopped in films.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use nebula_api::Page;
use nebula_api::bookmark::Bookmark;
use nebula_api::file::File;
use nebula_api::folder::{Changed, Folder};
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::stack::Stack;
use serde_json::{Value, json};

/// A path with a query of the stack's project.
fn path(stack: &Stack, route: &str, query: &[(&str, &str)]) -> Result<String> {
    let project = stack.project.to_string();
    let pairs = [("projectId", project.as_str())].into_iter().chain(query.iter().copied());
    let url = reqwest::Url::parse_with_params(&format!("http://gateway{route}"), pairs)?;
    Ok(format!("{route}?{}", url.query().unwrap_or_default()))
}

/// Uploads a file that has its path as its bytes.
async fn upload(stack: &Stack, api: &Api, folder: &str, name: &str) -> Result<File> {
    let request = api.post(&path(stack, "/api/files", &[("folder", folder), ("name", name)])?);
    data(good(request.body(format!("{folder}/{name}")).send().await?).await?).await
}

/// Names of the files that a query finds, in its order.
async fn names(stack: &Stack, api: &Api, query: &[(&str, &str)]) -> Result<Vec<String>> {
    let files: Vec<File> = api.read(&path(stack, "/api/files", query)?).await?;
    Ok(files.into_iter().map(|file| file.name).collect())
}

async fn folders(stack: &Stack, api: &Api, folder: &str) -> Result<Vec<(String, i64)>> {
    let folders: Vec<Folder> = api.read(&path(stack, "/api/folders", &[("folder", folder)])?).await?;
    Ok(folders.into_iter().map(|folder| (folder.folder, folder.files)).collect())
}

fn pairs(found: &[(&str, i64)]) -> Vec<(String, i64)> {
    found.iter().map(|(folder, files)| ((*folder).to_owned(), *files)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_moves_with_all_that_is_below_it_or_not_at_all() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    for (folder, name) in [("a", "1"), ("a/b", "1"), ("a/b/b", "1"), ("ab", "1"), ("", "1"), ("c/b", "1")] {
        upload(&stack, &api, folder, name).await?;
    }
    assert_eq!(folders(&stack, &api, "").await?, pairs(&[("a", 3), ("ab", 1), ("c", 1)]));
    assert_eq!(folders(&stack, &api, "a").await?, pairs(&[("a/b", 2)]));
    assert_eq!(names(&stack, &api, &[("folder", "a"), ("below", "true")]).await?.len(), 3);
    assert_eq!(names(&stack, &api, &[("folder", "a")]).await?.len(), 1);

    let change = |folder: &str, to: &str| {
        let body = json!({ "projectId": stack.project, "folder": folder, "to": to });
        let request = api.post("/api/folders/move").json(&body);
        async { anyhow::Ok(request.send().await?) }
    };
    // c/b/1 is there, so nothing of a moves, neither a/1.
    let refused = refusal(change("a", "c").await?).await?;
    assert_eq!(refused.status.as_u16(), 409);
    ensure!(refused.failure.detail.contains("\"c/b\" has a file \"1\""), "{:?}", refused.failure);
    assert_eq!(names(&stack, &api, &[("folder", "a"), ("below", "true")]).await?.len(), 3);
    for (folder, to) in [("a", "a/x"), ("a", "a"), ("", "x"), ("a", "x//y"), ("a", "../x"), ("a", "x/")] {
        assert_eq!(change(folder, to).await?.status(), 400, "{folder} to {to}");
    }
    assert_eq!(change("none", "x").await?.status(), 404);
    assert_eq!(change("a", "").await?.status(), 409);
    let moved: Changed = data(good(change("a/b", "d").await?).await?).await?;
    assert_eq!(moved.files, 2);
    // One file takes the place that the other leaves.
    for folder in ["p/p", "p/p/p"] {
        upload(&stack, &api, folder, "1").await?;
    }
    let moved: Changed = data(good(change("p/p", "p").await?).await?).await?;
    assert_eq!(moved.files, 2);
    good(change("ab", "u\u{308}").await?).await?;
    let all = [("a", 1), ("c", 1), ("d", 2), ("p", 2), ("ü", 1)];
    assert_eq!(folders(&stack, &api, "").await?, pairs(&all));
    assert_eq!(folders(&stack, &api, "p").await?, pairs(&[("p/p", 1)]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_in_its_folder_alone_and_a_rename_says_so() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = upload(&stack, &api, "films", "a.txt").await?;
    assert_eq!((film.folder.as_str(), film.kind.as_str()), ("films", "other"));
    let top = upload(&stack, &api, "", "a.txt").await?;
    let place = |file: &File, body: Value| {
        let request = api.patch(&format!("/api/files/{}", file.file_id)).json(&body);
        async { anyhow::Ok(request.send().await?) }
    };
    let taken = refusal(place(&top, json!({ "folder": "films" })).await?).await?;
    assert_eq!(taken.status.as_u16(), 409);
    ensure!(taken.failure.detail.contains("folder \"films\"") && taken.failure.hint.is_some());
    let moved: File =
        data(good(place(&top, json!({ "folder": "films", "name": "b.txt" })).await?).await?).await?;
    assert_eq!((moved.folder.as_str(), moved.name.as_str()), ("films", "b.txt"));
    for body in
        [json!({ "name": "a/b" }), json!({ "name": "" }), json!({ "folder": "/" }), json!({ "nam": "x" })]
    {
        assert_eq!(place(&top, body.clone()).await?.status(), 400, "{body}");
    }
    // An account that is no member of the project finds neither.
    let stranger = stack.member("stranger").await?;
    let client = stack.database.connect().await?;
    client.execute("DELETE FROM nebula.project_member", &[]).await?;
    let path = format!("/api/files/{}", film.file_id);
    let body = json!({ "name": "mine" });
    assert_eq!(stranger.patch(&path).json(&body).send().await?.status(), 404);
    assert_eq!(
        stranger.put(&format!("{path}/tags")).json(&json!({ "tags": [] })).send().await?.status(),
        404
    );
    assert_eq!(
        stranger.put(&format!("{path}/bookmark")).json(&json!({ "seconds": 1 })).send().await?.status(),
        404
    );
    for path in ["/api/tags", "/api/folders"] {
        let answer = stranger.get(&format!("{path}?projectId={}", stack.project)).send().await?;
        ensure!(matches!(answer.status().as_u16(), 403 | 404), "{path}: {}", answer.status());
    }
    Ok(())
}

/// Ten thousand files, as many uploads would have made them.
const MANY: &str = "
    INSERT INTO nebula.content (content_id, project_id, size, sha256, content_type, storage_key, media)
    SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, $1, 1 + n * 7919 % 10007, sha256(n::text::bytea),
           (ARRAY['video/mp4', 'audio/mpeg', 'image/png', 'text/plain'])[n % 4 + 1], 'files/' || n,
           CASE WHEN n % 2 = 0 THEN jsonb_build_object('duration', n % 500 + 1) END
      FROM generate_series(1, 10000) n;";
const MANY_NAMES: &str = "
    INSERT INTO nebula.file (file_id, project_id, folder, name, content_id, tags, uploaded_at)
    SELECT c.content_id, c.project_id, CASE WHEN n % 3 = 0 THEN '' ELSE 'films/' || n % 10 END,
           CASE WHEN n % 2 = 0 THEN 'Überfahrt ' ELSE 'überfahrt ' END || n || '.mkv', c.content_id,
           CASE WHEN n % 1000 = 0 THEN '{rare}' ELSE '{}' END::text[], now() - n * interval '1 minute'
      FROM (SELECT c.*, substr(c.storage_key, 7)::integer AS n FROM nebula.content c) c;";

/// Pages through a list; answers the names and the number of pages.
async fn pages(stack: &Stack, api: &Api, query: &[(&str, &str)]) -> Result<(Vec<String>, usize)> {
    let (mut names, mut count, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let mut query = query.to_vec();
        query.push(("max", "700"));
        if count > 0 {
            query.push(("cursor", &cursor));
        }
        let request = api.get(&path(stack, "/api/files", &query)?);
        let page: Page<File> = good(request.send().await?).await?.json().await?;
        names.extend(page.data.into_iter().map(|file| file.name));
        count += 1;
        match page.next {
            Some(next) => cursor = next,
            None => return Ok((names, count)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_files_are_sorted_found_and_paged_through_by_the_server() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let client = stack.database.connect().await?;
    client.execute(MANY, &[&stack.project]).await?;
    client.execute(MANY_NAMES, &[]).await?;
    client.batch_execute("ANALYZE nebula.file, nebula.content").await?;

    let number = |name: &str| name[11..name.len() - 4].parse::<u32>();
    let numbers = |found: &[String]| found.iter().map(|name| number(name)).collect::<Result<Vec<_>, _>>();
    let all: Vec<u32> = (1..=10000).collect();
    let (by_name, count) = pages(&stack, &api, &[("sort", "name")]).await?;
    assert_eq!((numbers(&by_name)?, count), (all.clone(), 15), "numbers count as numbers");
    let (newest, _) = pages(&stack, &api, &[]).await?;
    assert_eq!(numbers(&newest)?, all);
    let size = |n: &u32| 1 + n * 7919 % 10007;
    for (sort, is_descending) in [("size", false), ("-size", true)] {
        let found = numbers(&pages(&stack, &api, &[("sort", sort)]).await?.0)?;
        let mut sizes: Vec<_> = all.iter().map(size).collect();
        sizes.sort_unstable();
        if is_descending {
            sizes.reverse();
        }
        assert_eq!(found.iter().map(size).collect::<Vec<_>>(), sizes, "{sort}");
    }
    // Many have the same length: the pages neither repeat nor lose any.
    let (lengths, _) = pages(&stack, &api, &[("sort", "-duration"), ("kind", "film")]).await?;
    let mut films = numbers(&lengths)?;
    assert_eq!(number(&lengths[0])? % 500, 496);
    films.sort_unstable();
    assert_eq!(films, all.iter().copied().filter(|n| n % 4 == 0).collect::<Vec<_>>());

    let found = names(&stack, &api, &[("q", "UBER 9999"), ("sort", "name")]).await?;
    assert_eq!(found, ["überfahrt 9999.mkv"]);
    let rare = names(&stack, &api, &[("tags", "Rare"), ("sort", "-name"), ("max", "2")]).await?;
    assert_eq!(rare, ["Überfahrt 10000.mkv", "Überfahrt 9000.mkv"]);
    let deep = names(&stack, &api, &[("folder", "films/4"), ("sort", "name"), ("max", "1")]).await?;
    assert_eq!(deep, ["Überfahrt 4.mkv"]);
    assert_eq!(names(&stack, &api, &[("state", "failed")]).await?, Vec::<String>::new());
    assert_eq!(names(&stack, &api, &[("state", "ready"), ("max", "3")]).await?.len(), 3);
    for bad in
        ["sort=owner", "kind=book", "state=good", "cursor=x", "cursor=e30", "sort=deleted", "folders=x"]
    {
        assert_eq!(api.get(&format!("/api/files?{bad}")).send().await?.status(), 400, "{bad}");
    }

    // A page from the middle reads about as much as it shows, in every order: not all files.
    let actor: uuid::Uuid = client.query_one("SELECT account_id FROM nebula.account", &[]).await?.get(0);
    for (sort, key) in [
        ("name", "uberfahrt 0000000000005000.mkv"),
        ("date", "2100-01-01"),
        ("size", "5000"),
        ("duration", "250"),
    ] {
        for (descending, filter) in [(true, "{}"), (false, r#"{"folder": "", "below": true}"#)] {
            let key = if sort == "date" && !descending { "2000-01-01" } else { key };
            let sql = format!(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
                 SELECT * FROM nebula.list_files('{actor}', '{}', '{filter}', '{sort}', {descending},
                                                 '[\"{key}\", \"00000000-0000-4000-8000-000000005000\"]', 20)",
                stack.project
            );
            // The first one reads the catalog, too.
            client.query_one(&sql, &[]).await?;
            let plan: Value = client.query_one(&sql, &[]).await?.get(0);
            let plan = &plan[0]["Plan"];
            let read = plan["Shared Hit Blocks"].as_u64().context("hits")?
                + plan["Shared Read Blocks"].as_u64().context("reads")?;
            assert_eq!(plan["Actual Rows"], 20, "{sort}");
            ensure!(read < 750, "{read} buffers for 20 files by {sort}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_goes_on_where_each_account_stopped_and_leaves_the_list_when_it_is_over() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, other) = (stack.admin().await?, stack.member("other").await?);
    let film = upload(&stack, &api, "films", "long.txt").await?;
    let short = upload(&stack, &api, "", "short.txt").await?;
    let note = async |api: &Api, file: &File, body: Value| {
        let request = api.put(&format!("/api/files/{}/bookmark", file.file_id)).json(&body);
        good(request.send().await?).await.map(drop)
    };
    let begun = async |api: &Api| {
        let list: Vec<Bookmark> = api.read(&format!("/api/bookmarks?projectId={}", stack.project)).await?;
        anyhow::Ok(list.into_iter().map(|one| (one.name, one.seconds)).collect::<Vec<_>>())
    };
    let resume = async |api: &Api, file: &File| {
        anyhow::Ok(api.read::<File>(&format!("/api/files/{}", file.file_id)).await?.resume_at)
    };
    note(&api, &film, json!({ "seconds": 600.5, "duration": 7200 })).await?;
    note(&api, &short, json!({ "seconds": 30, "duration": 100 })).await?;
    note(&other, &film, json!({ "seconds": 60 })).await?;
    let both = [("short.txt".to_owned(), 30.0), ("long.txt".to_owned(), 600.5)];
    assert_eq!(begun(&api).await?, both, "the last one played is first");
    assert_eq!((resume(&api, &film).await?, resume(&other, &film).await?), (Some(600.5), Some(60.0)));
    // A player that reports every second writes no row for each.
    note(&api, &film, json!({ "seconds": 601.5, "duration": 7200 })).await?;
    assert_eq!(resume(&api, &film).await?, Some(600.5));
    note(&api, &film, json!({ "seconds": 606, "duration": 7200 })).await?;
    assert_eq!(resume(&api, &film).await?, Some(606.0));
    // The credits.
    note(&api, &film, json!({ "seconds": 6950, "duration": 7200 })).await?;
    note(&api, &short, json!({ "seconds": 94, "duration": 100 })).await?;
    assert_eq!(begun(&api).await?, [("short.txt".to_owned(), 94.0)]);
    assert_eq!(resume(&api, &film).await?, None, "it begins anew");
    note(&api, &short, json!({ "seconds": 95.5, "duration": 100 })).await?;
    assert_eq!(begun(&api).await?, []);
    assert_eq!(begun(&other).await?, [("long.txt".to_owned(), 60.0)]);
    for bad in [json!({ "seconds": -1 }), json!({ "seconds": 1e300 }), json!({})] {
        let request = api.put(&format!("/api/files/{}/bookmark", film.file_id)).json(&bad);
        assert_eq!(request.send().await?.status(), 400, "{bad}");
    }
    good(other.delete(&format!("/api/files/{}/bookmark", film.file_id)).send().await?).await?;
    assert_eq!(begun(&other).await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nebulactl_lists_moves_tags_deletes_and_restores_by_paths() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    for (folder, name) in [("", "top.txt"), ("films", "a.txt"), ("films/80s", "b.txt"), ("music", "a.txt")] {
        upload(&stack, &api, folder, name).await?;
    }
    let ctl = |arguments: &[&str]| -> Result<String> { run(stack.ctl()?.args(arguments)) };
    let listed = ctl(&["ls"])?;
    let [films, music, top] = ["films/", "music/", "top.txt"].map(|name| listed.find(name));
    ensure!(films.is_some() && films < music && music < top && !listed.contains("b.txt"), "{listed}");
    ensure!(ctl(&["ls", "films/"])?.contains("80s/"));
    let file = ctl(&["ls", "films/80s/b.txt"])?;
    ensure!(file.contains("b.txt") && file.lines().count() == 2, "{file}");
    ensure!(ctl(&["ls", "-r"])?.contains("films/80s/b.txt"));
    let error = ctl(&["rm", "a.txt", "--yes"]).unwrap_err().to_string();
    ensure!(error.contains("films/a.txt, music/a.txt"), "{error}");

    ensure!(ctl(&["tag", "films/a.txt", "Old", "seen"])?.contains("old, seen"));
    ensure!(ctl(&["tag", "films/a.txt", "--remove", "SEEN"])?.trim().ends_with("  old"));
    ensure!(ctl(&["ls", "--tag", "old"])?.contains("films/a.txt"));
    let counts: Value = serde_json::from_str(&ctl(&["tag", "--json"])?)?;
    assert_eq!(counts, json!([{ "tag": "old", "files": 1 }]));

    ctl(&["mv", "top.txt", "music/a.txt", "new/"])?;
    ensure!(ctl(&["mv", "films/", "cinema"])?.contains("films/ is cinema/ now, with 2 files"));
    ensure!(ctl(&["mv", "cinema/a.txt", "c.txt"])?.contains("cinema/c.txt"));
    ctl(&["mv", "cinema", "new"])?;
    ctl(&["mv", "new/top.txt", "/end.txt"])?;
    let paths = |listed: &str| -> Result<Vec<String>> {
        let files: Vec<File> = serde_json::from_str(listed)?;
        Ok(files.into_iter().map(|file| format!("{}/{}", file.folder, file.name)).collect())
    };
    let all = paths(&ctl(&["ls", "-r", "--sort", "name", "--json"])?)?;
    assert_eq!(all, ["new/a.txt", "new/cinema/80s/b.txt", "new/cinema/c.txt", "/end.txt"]);

    let told = ctl(&["rm", "end.txt", "--yes"])?;
    ensure!(told.contains("in the trash") && told.contains("nebulactl restore"), "{told}");
    ensure!(ctl(&["trash"])?.contains("end.txt"));
    upload(&stack, &api, "", "end.txt").await?;
    let taken = ctl(&["restore", "end.txt"]).unwrap_err().to_string();
    ensure!(taken.contains("is there already") && taken.contains("hint"), "{taken}");
    ensure!(ctl(&["restore", "end.txt", "--as", "new/old.txt"])?.contains("new/old.txt"));
    ensure!(ctl(&["rm", "new", "--yes"]).unwrap_err().to_string().contains("--recursive"));
    ensure!(ctl(&["rm", "-r", "new", "--yes"])?.contains("4 files"));
    assert_eq!(paths(&ctl(&["ls", "-r", "--json"])?)?, ["/end.txt"]);
    ctl(&["trash", "rm", "new/old.txt", "--yes"])?;
    ensure!(ctl(&["trash", "empty", "--yes"])?.contains("3 files"));
    ensure!(ctl(&["trash", "ls"])?.contains("empty"));
    ctl(&["rm", "end.txt", "--permanently", "--yes"])?;
    assert_eq!(stack.stored()?.len(), 0);
    Ok(())
}

/// Says where it is as mpv does, after it has noted how it was started.
const PLAYER: &str = r#"#!/usr/bin/env python3
import json, os, socket, sys
with open(os.environ["PLAYED"], "w") as out:
    json.dump([a for a in sys.argv[1:] if not a.startswith("http")], out)
path = next(a for a in sys.argv if a.startswith("--input-ipc-server=")).split("=", 1)[1]
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(1)
client, _ = server.accept()
asked = client.makefile()
assert [json.loads(asked.readline())["command"][0] for _ in range(2)] == ["observe_property"] * 2
for name, value in [("duration", 1000.0), ("time-pos", None), ("time-pos", 5.0), ("time-pos", 321.5)]:
    line = {"event": "property-change", "name": name, "data": value}
    client.sendall((json.dumps(line) + "\n").encode())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn nebulactl_plays_a_film_where_it_stopped_and_notes_where_the_player_ended() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = upload(&stack, &api, "films", "a.txt").await?;
    let programs = stack.path("programs");
    fs::create_dir(&programs)?;
    fs::write(programs.join("mpv"), PLAYER)?;
    fs::set_permissions(programs.join("mpv"), fs::Permissions::from_mode(0o755))?;
    let played = stack.path("played.json");
    let search = std::env::var("PATH")?;
    let play = |arguments: &[&str]| -> Result<Vec<String>> {
        let mut ctl = stack.ctl()?;
        ctl.env("PATH", format!("{}:{search}", programs.display())).env("PLAYED", &played);
        run(ctl.arg("play").args(arguments))?;
        let options: Vec<String> = serde_json::from_slice(&fs::read(&played)?)?;
        Ok(options.into_iter().filter(|option| !option.starts_with("--input-ipc-server=")).collect())
    };
    assert_eq!(play(&["a.txt"])?, Vec::<String>::new(), "it begins at the start");
    let noted: File = api.read(&format!("/api/files/{}", film.file_id)).await?;
    assert_eq!(noted.resume_at, Some(321.5));
    assert_eq!(play(&[])?, ["--start=321.5"], "the last one that was begun");
    assert_eq!(play(&["films/a.txt", "--from-start"])?, Vec::<String>::new());
    Ok(())
}
