//! Share links: people without an account, what they may open, and how a link ends.

use anyhow::{Context, Result, ensure};
use nebula_api::file::File;
use nebula_api::share::{MadeShare, Share, SharedFile, SharedFolder};
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::stack::Stack;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

const TEXT: &[u8] = b"for people without an account";

/// Somebody with a browser and a link.
struct Visitor {
    http: Client,
    base: String,
}

impl Visitor {
    fn of(stack: &Stack) -> Self {
        Self { http: Client::new(), base: stack.url() }
    }

    async fn open(&self, token: &str, password: Option<&str>) -> Result<Response> {
        let body = json!({"token": token, "password": password});
        Ok(self.http.post(format!("{}/api/shares/open", self.base)).json(&body).send().await?)
    }

    /// A file behind a link to a folder.
    async fn open_file(&self, token: &str, password: &str, file: &File) -> Result<Response> {
        let body = json!({"token": token, "password": password, "fileId": file.file_id});
        Ok(self.http.post(format!("{}/api/shares/open", self.base)).json(&body).send().await?)
    }

    async fn get(&self, path: &str) -> Result<Response> {
        Ok(self.http.get(format!("{}{path}", self.base)).send().await?)
    }
}

async fn share(api: &Api, body: Value) -> Result<(MadeShare, String)> {
    let made: MadeShare = data(good(api.post("/api/shares").json(&body).send().await?).await?).await?;
    let token = made.path.strip_prefix("/s/").context("no page")?.to_owned();
    Ok((made, token))
}

async fn uploaded(stack: &Stack, api: &Api, name: &str, bytes: &[u8]) -> Result<File> {
    data(good(api.upload(stack.project, name, bytes.to_vec()).await?).await?).await
}

/// A file of this path, whose bytes are the path.
async fn placed(stack: &Stack, api: &Api, path: &str) -> Result<File> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let file = uploaded(stack, api, &format!("upload of {name}"), path.as_bytes()).await?;
    let place = json!({"folder": folder, "name": name});
    data(good(api.patch(&format!("/api/files/{}", file.file_id)).json(&place).send().await?).await?).await
}

fn names(folder: &SharedFolder) -> Vec<&str> {
    folder.files.iter().map(|file| file.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_its_file_until_it_is_revoked() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let visitor = Visitor::of(&stack);
    let file = uploaded(&stack, &api, "Grüße.txt", TEXT).await?;
    let other = uploaded(&stack, &api, "secret.txt", b"nobody's business").await?;
    let (made, token) = share(&api, json!({"fileId": file.file_id, "note": "Anna"})).await?;

    let page = good(visitor.get(&made.path).await?).await?;
    let header =
        |name: &str| page.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ensure!(header("content-security-policy").contains("default-src 'self'"), "{page:?}");
    assert_eq!((header("referrer-policy"), header("cache-control")), ("no-referrer", "no-store"));
    ensure!(header("content-type").starts_with("text/html") && header("x-robots-tag").contains("noindex"));
    let log = std::fs::read_to_string(stack.log("gateway"))?;
    ensure!(log.contains("/s/") && !log.contains(&token), "the log opens nothing");

    let opened: SharedFile = data(good(visitor.open(&token, None).await?).await?).await?;
    assert_eq!((opened.name.as_str(), opened.size), ("Grüße.txt", TEXT.len() as i64));
    let play = opened.play.context("nothing to show")?.path;
    let download = opened.download.context("nothing to fetch")?;
    let fetched = good(visitor.get(&download).await?).await?;
    ensure!(fetched.headers()["content-disposition"].to_str()?.starts_with("attachment"));
    ensure!(*fetched.bytes().await? == *TEXT);
    let url = format!("{}{play}", stack.url());
    let part = visitor.http.get(&url).header("range", "bytes=4-9").send().await?;
    assert_eq!(
        (part.status(), part.bytes().await?),
        (StatusCode::PARTIAL_CONTENT, TEXT[4..10].to_vec().into())
    );
    let outside = visitor.http.get(&url).header("range", "bytes=999-").send().await?;
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);

    // The pass of one file opens no other, and nothing but files.
    let pass = play.split_once("token=").context("no pass")?.1;
    for path in [
        format!("/api/files/{}/content?token={pass}", other.file_id),
        format!("/api/files/{}/hls/master.m3u8?token={pass}", file.file_id),
    ] {
        assert_eq!(visitor.get(&path).await?.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    for route in ["/api/files", "/api/auth/me", "/api/shares"] {
        let asked = visitor.http.get(format!("{}{route}", stack.url())).bearer_auth(pass).send().await?;
        assert_eq!(asked.status(), StatusCode::UNAUTHORIZED, "{route}");
    }

    let listed = good(api.get("/api/shares").send().await?).await?.text().await?;
    ensure!(!listed.contains(&token) && !listed.contains(pass), "{listed}");
    let listed: Vec<Share> = api.read(&format!("/api/shares?fileId={}", file.file_id)).await?;
    assert_eq!((listed.len(), listed[0].uses, listed[0].state.as_str()), (1, 1, "open"));
    ensure!(listed[0].last_used_at.is_some() && listed[0].note.as_deref() == Some("Anna"));

    good(api.delete(&format!("/api/shares/{}", made.share_id)).send().await?).await?;
    let next = visitor.http.get(&url).header("range", "bytes=0-1").send().await?;
    assert_eq!(refusal(next).await?.status, StatusCode::GONE, "also in the middle of a film");
    let again = refusal(visitor.open(&token, None).await?).await?;
    ensure!(again.status == StatusCode::GONE && again.failure.detail.contains("ended on"), "{again:?}");
    good(api.delete(&format!("/api/shares/{}", made.share_id)).send().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_end_with_their_time_their_file_and_the_rights_of_their_maker() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, visitor) = (stack.admin().await?, Visitor::of(&stack));
    let ben = stack.member("ben").await?;
    let client = stack.database.connect().await?;
    let file = uploaded(&stack, &api, "a.txt", TEXT).await?;
    let far = json!({"fileId": file.file_id, "expiresAt": "2199-01-01T00:00:00Z"});
    let (made, token) = share(&ben, far).await?;
    let opened: SharedFile = data(good(visitor.open(&token, None).await?).await?).await?;
    let play = opened.play.context("nothing to show")?.path;
    let past = json!({"fileId": file.file_id, "expiresAt": "2020-01-01T00:00:00Z"});
    assert_eq!(refusal(api.post("/api/shares").json(&past).send().await?).await?.status.as_u16(), 400);

    let ended = async |what: &str| {
        let refused = refusal(visitor.open(&token, None).await?).await?;
        assert_eq!(refused.status, StatusCode::GONE, "{what}");
        let status = visitor.get(&play).await?.status();
        ensure!(matches!(status.as_u16(), 404 | 410), "{what}: {status}");
        anyhow::Ok(refused.failure.detail)
    };
    client.execute("UPDATE nebula.share SET expires_at = now() - interval '1 hour'", &[]).await?;
    ensure!(ended("its time").await?.contains("ended on"));
    client.execute("UPDATE nebula.share SET expires_at = NULL", &[]).await?;
    good(visitor.get(&play).await?).await?;
    client.execute("DELETE FROM nebula.project_member", &[]).await?;
    ensure!(ended("a maker who is no member any more").await?.contains("has ended"));
    client.execute("SELECT nebula.add_member($1, 'ben')", &[&stack.project]).await?;
    good(visitor.get(&play).await?).await?;
    good(api.delete(&format!("/api/files/{}", file.file_id)).send().await?).await?;
    ensure!(ended("its file").await?.contains("deleted"));
    let listed: Vec<Share> = ben.read("/api/shares").await?;
    assert_eq!(listed[0].share_id, made.share_id);

    // Other projects' files and links are not there.
    let carl = stack.member("carl").await?;
    let file = uploaded(&stack, &api, "b.txt", TEXT).await?;
    let (made, _) = share(&ben, json!({"fileId": file.file_id})).await?;
    client
        .execute(
            "DELETE FROM nebula.project_member m USING nebula.account a
                     WHERE a.account_id = m.account_id AND a.username = 'carl'",
            &[],
        )
        .await?;
    let tried = carl.post("/api/shares").json(&json!({"fileId": file.file_id})).send().await?;
    assert_eq!(refusal(tried).await?.status.as_u16(), 404);
    let tried = carl.delete(&format!("/api/shares/{}", made.share_id)).send().await?;
    assert_eq!(refusal(tried).await?.status.as_u16(), 404);
    assert_eq!(carl.read::<Vec<Share>>("/api/shares").await?.len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_tokens_cannot_be_guessed() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, visitor) = (stack.admin().await?, Visitor::of(&stack));
    let file = uploaded(&stack, &api, "a.txt", TEXT).await?;
    let (_, token) = share(&api, json!({"fileId": file.file_id, "password": "rosebud"})).await?;
    let asked = refusal(visitor.open(&token, None).await?).await?;
    assert_eq!((asked.status.as_u16(), asked.failure.detail.as_str()), (401, "this link has a password"));
    let text = format!("{asked:?}");
    ensure!(!text.contains("a.txt"), "a stranger does not learn what it is: {text}");
    let stored = stack.database.connect().await?;
    let hash: String = stored.query_one("SELECT password_hash FROM nebula.share", &[]).await?.get(0);
    ensure!(hash.starts_with("$argon2id$"), "{hash}");
    for _ in 0..9 {
        let wrong = refusal(visitor.open(&token, Some("rosebut")).await?).await?;
        assert_eq!((wrong.status.as_u16(), wrong.failure.detail.as_str()), (401, "the password is wrong"));
    }
    good(visitor.open(&token, Some("rosebud")).await?).await?;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(visitor.open(&token, Some("rosebut")).await?.status().as_u16());
    }
    assert_eq!((statuses[9], statuses[10]), (401, 429), "{statuses:?}");
    let right = visitor.open(&token, Some("rosebud")).await?;
    ensure!(right.headers().contains_key("retry-after"), "{right:?}");
    assert_eq!(right.status(), StatusCode::TOO_MANY_REQUESTS, "not even with the right one");

    let (_, other) = share(&api, json!({"fileId": file.file_id})).await?;
    for n in 0..20 {
        let guess = format!("{n:02}{}", &other[2..]);
        assert_eq!(visitor.open(&guess, None).await?.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(visitor.open(&other, None).await?.status(), StatusCode::TOO_MANY_REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nebulactl_makes_lists_and_ends_links() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, visitor) = (stack.admin().await?, Visitor::of(&stack));
    uploaded(&stack, &api, "a.txt", TEXT).await?;
    let made =
        run(stack.ctl()?.args(["--json", "share", "create", "a.txt", "--no-download", "--until", "1d"]))?;
    let made: Value = serde_json::from_str(&made)?;
    let url = made["url"].as_str().context("no url")?;
    let token = url.strip_prefix(&format!("{}/s/", stack.url())).context("another address")?;
    let opened: SharedFile = data(good(visitor.open(token, None).await?).await?).await?;
    ensure!(opened.download.is_none() && opened.expires_at.is_some(), "{opened:?}");
    let listed = run(stack.ctl()?.args(["share", "ls"]))?;
    ensure!(listed.contains("a.txt") && listed.contains("open") && !listed.contains(token), "{listed}");
    let id = made["shareId"].as_str().context("no id")?;
    run(stack.ctl()?.args(["share", "revoke", id, "--yes"]))?;
    assert_eq!(visitor.open(token, None).await?.status(), StatusCode::GONE);
    ensure!(run(stack.ctl()?.args(["share", "ls"]))?.contains("revoked"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_folder_opens_what_is_below_it_and_nothing_else() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, visitor) = (stack.admin().await?, Visitor::of(&stack));
    let deep = placed(&stack, &api, "films/80s/deep.txt").await?;
    let near = placed(&stack, &api, "films/near.txt").await?;
    let outside = placed(&stack, &api, "films!/outside.txt").await?;
    let asked = json!({"projectId": stack.project, "folder": "films", "password": "rosebud"});
    let (made, token) = share(&api, asked).await?;

    let locked = refusal(visitor.open(&token, None).await?).await?;
    assert_eq!((locked.status, locked.failure.detail.contains("films")), (StatusCode::UNAUTHORIZED, false));
    let locked = visitor.open_file(&token, "wrong", &near).await?;
    assert_eq!(locked.status(), StatusCode::UNAUTHORIZED, "each file is behind the password, too");
    let list = async || data::<SharedFolder>(good(visitor.open(&token, Some("rosebud")).await?).await?).await;
    let shown = list().await?;
    assert_eq!((shown.name.as_str(), names(&shown)), ("films", vec!["80s/deep.txt", "near.txt"]));
    let opened: SharedFile = data(good(visitor.open_file(&token, "rosebud", &deep).await?).await?).await?;
    let play = opened.play.context("nothing to show")?.path;
    assert_eq!(good(visitor.get(&play).await?).await?.bytes().await?, "films/80s/deep.txt");
    let other = refusal(visitor.open_file(&token, "rosebud", &outside).await?).await?;
    assert_eq!(other.status, StatusCode::GONE, "a folder whose name begins alike: {other:?}");

    let later = placed(&stack, &api, "films/later.txt").await?;
    assert_eq!(
        names(&list().await?),
        ["80s/deep.txt", "later.txt", "near.txt"],
        "also those that come later"
    );
    good(visitor.open_file(&token, "rosebud", &later).await?).await?;
    // A file that leaves the folder is no longer behind the link, also for those who are watching.
    let place = json!({"folder": "", "name": "deep.txt"});
    good(api.patch(&format!("/api/files/{}", deep.file_id)).json(&place).send().await?).await?;
    assert_eq!(visitor.get(&play).await?.status(), StatusCode::GONE);

    let renamed = json!({"projectId": stack.project, "folder": "films", "to": "cinema"});
    good(api.post("/api/folders/move").json(&renamed).send().await?).await?;
    assert_eq!(list().await?.name, "cinema", "the link follows the folder");
    let joined = json!({"projectId": stack.project, "folder": "cinema", "to": "films!"});
    good(api.post("/api/folders/move").json(&joined).send().await?).await?;
    let ended = refusal(visitor.open(&token, Some("rosebud")).await?).await?;
    assert_eq!(ended.status, StatusCode::GONE, "not into one that has other files: {ended:?}");

    let back = json!({"projectId": stack.project, "folder": "films!", "to": "cinema"});
    good(api.post("/api/folders/move").json(&back).send().await?).await?;
    list().await?;
    let listed: Vec<Share> = api.read("/api/shares").await?;
    assert_eq!((listed[0].folder.as_deref(), listed[0].state.as_str()), (Some("cinema"), "open"));
    ensure!(listed[0].uses >= 4 && listed[0].file_id.is_none(), "{listed:?}");
    let held: SharedFile = data(good(visitor.open_file(&token, "rosebud", &near).await?).await?).await?;
    let held = held.play.context("nothing to show")?.path;
    good(visitor.get(&held).await?).await?;
    good(api.delete(&format!("/api/shares/{}", made.share_id)).send().await?).await?;
    assert_eq!(visitor.get(&held).await?.status(), StatusCode::GONE);
    assert_eq!(visitor.open(&token, Some("rosebud")).await?.status(), StatusCode::GONE);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_one_place_that_its_maker_sees() -> Result<()> {
    let stack = Stack::start().await?;
    let (api, stranger) = (stack.admin().await?, stack.member("ben").await?);
    let client = stack.database.connect().await?;
    let file = placed(&stack, &api, "films/a.txt").await?;
    let folder = json!({"projectId": stack.project, "folder": "films"});
    for (body, status) in [
        (json!({}), 400),
        (json!({"folder": "films"}), 400),
        (json!({"fileId": file.file_id, "projectId": stack.project, "folder": "films"}), 400),
        (json!({"projectId": stack.project, "folder": ""}), 400),
        (json!({"projectId": stack.project, "folder": "a//b"}), 400),
        (json!({"projectId": stack.project, "folder": "music"}), 404),
    ] {
        let refused = refusal(api.post("/api/shares").json(&body).send().await?).await?;
        assert_eq!(refused.status.as_u16(), status, "{body}: {refused:?}");
    }
    client.execute("DELETE FROM nebula.project_member", &[]).await?;
    let refused = refusal(stranger.post("/api/shares").json(&folder).send().await?).await?;
    ensure!(matches!(refused.status.as_u16(), 403 | 404), "{refused:?}");

    let made = run(stack.ctl()?.args(["--quiet", "share", "create", "films/", "--until", "never"]))?;
    let token = made.trim().rsplit_once("/s/").context("no link")?.1;
    let shown: SharedFolder = data(good(Visitor::of(&stack).open(token, None).await?).await?).await?;
    assert_eq!(names(&shown), ["a.txt"]);
    ensure!(run(stack.ctl()?.args(["share", "ls"]))?.contains("films/"));
    ensure!(run(stack.ctl()?.args(["share", "create", "films"]))?.contains("/s/"), "there is no such file");
    Ok(())
}
