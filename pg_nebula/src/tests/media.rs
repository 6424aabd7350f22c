//! Tests of files and of what workers make of them.

use pgrx::prelude::*;

/// A plan that leaves pictures to another job.
const PLAN: &str = r#"{"variants": [], "sounds": [], "subtitles": [], "duration": 10, "pictures": true}"#;

#[pg_schema]
mod tests {
    use super::PLAN;
    use crate::tests::{assert_error, project, run, text};
    use pgrx::prelude::*;

    const ACTOR: &str = "(SELECT account_id FROM nebula.account)";
    const FILE: &str = "(SELECT file_id FROM nebula.file)";

    /// A film of a new account in a new project; its job runs.
    fn film() -> String {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.create_account('anna', '$argon2id$x', 'admin')");
        run(&format!(
            "SELECT nebula.create_file({ACTOR}, gen_random_uuid(), '{project}', 'films', 'film.mkv', 1000,
                                       sha256('film'), 'video/x-matroska', 'files/film', true)"
        ));
        claim("transcode");
        project
    }

    fn claim(kind: &str) {
        run(&format!("SELECT nebula.claim_jobs('w', '{{{kind}}}')"));
    }

    /// A call that a worker makes for a running job of this kind, with its attempt before these arguments.
    fn call(function: &str, kind: &str, rest: &str) -> String {
        format!(
            "SELECT nebula.{function}(job_id, attempt{rest}) FROM nebula.job_running WHERE kind = '{kind}'"
        )
    }

    fn plan(plan: &str) -> String {
        call("plan_renditions", "transcode", &format!(", (SELECT content_id FROM nebula.content), '{plan}'"))
    }

    fn web(kind: &str) -> String {
        let values =
            ", (SELECT content_id FROM nebula.content), 'web', 'files/web', 9, sha256('web'), 'video/mp4'";
        call("add_rendition", kind, values)
    }

    fn trash() {
        run(&format!("SELECT nebula.trash_file({ACTOR}, {FILE})"));
    }

    fn restore() {
        run(&format!("SELECT nebula.restore_file({ACTOR}, {FILE})"));
    }

    /// Kinds of the jobs that wait.
    fn waiting() -> String {
        text("SELECT coalesce(string_agg(kind, ' '), 'none') FROM nebula.job_waiting")
    }

    fn state() -> String {
        text("SELECT state FROM nebula.file_status")
    }

    #[pg_test]
    fn a_film_that_is_restored_while_its_job_still_stops_is_made_by_another_job() {
        film();
        trash();
        restore();
        assert_eq!(waiting(), "transcode");
        for late in [
            plan(PLAN),
            web("transcode"),
            call("add_chunks", "transcode", ", (SELECT content_id FROM nebula.content), '[]'"),
            call("plan_in_software", "transcode", ", (SELECT content_id FROM nebula.content), 'gone'"),
        ] {
            assert_error(&late, "P0002", &["was cancelled"]);
        }
        let ended = call("fail_job", "transcode", ", 'cancelled', false");
        assert_eq!(text(&ended), "cancelled");
        assert_eq!(state(), "waiting", "the end of the earlier job does not count");
        claim("transcode");
        run(&web("transcode"));
        run(&plan(PLAN));
        run(&call("complete_job", "transcode", ""));
        assert_eq!((state().as_str(), waiting().as_str()), ("ready", "transcode-pictures"));
    }

    #[pg_test]
    fn a_restored_film_gets_the_pictures_that_the_trash_stopped_and_a_whole_one_is_not_made_again() {
        film();
        run(&web("transcode"));
        run(&plan(PLAN));
        run(&call("complete_job", "transcode", ""));
        trash();
        assert_eq!(waiting(), "none");
        restore();
        assert_eq!(waiting(), "transcode", "its pictures are missing");
        claim("transcode");
        run(&plan(PLAN));
        run(&call("complete_job", "transcode", ""));
        claim("transcode-pictures");
        run(&call("complete_job", "transcode-pictures", ""));
        trash();
        restore();
        assert_eq!(waiting(), "none", "nothing is missing");
    }

    #[pg_test]
    fn bytes_that_are_uploaded_again_after_the_trash_stopped_them_are_made() {
        let project = film();
        trash();
        run(&format!(
            "SELECT nebula.create_file({ACTOR}, gen_random_uuid(), '{project}', '', 'again.mkv', 1000,
                                       sha256('film'), 'video/x-matroska', 'files/again', true)"
        ));
        assert_eq!(waiting(), "transcode");
    }

    #[pg_test]
    fn the_top_cannot_be_deleted_as_a_folder() {
        let project = film();
        let trash = |folder: &str| format!("SELECT nebula.trash_folder({ACTOR}, '{project}', '{folder}')");
        assert_error(&trash(""), "22023", &["the top is no folder that can be deleted"]);
        assert_eq!(text("SELECT count(*) FROM nebula.file WHERE deleted_at IS NULL"), "1");
        assert_eq!(text(&trash("films")), "1");
    }

    #[pg_test]
    fn when_the_last_scrub_ended_is_known_without_its_job() {
        let told = "SELECT finished_at IS NOT NULL FROM nebula.scrub_status(NULL)";
        assert_eq!(text(told), "false");
        for _ in 0..2 {
            run("SELECT nebula.enqueue_job('scrub', '{}')");
            claim("scrub");
            run(&call("finish_scrub", "scrub", ""));
            run(&call("complete_job", "scrub", ""));
            run("DELETE FROM nebula.job_finished");
        }
        assert_eq!(text(told), "true");
    }

    #[pg_test]
    fn an_account_that_plays_a_film_again_adds_no_row() {
        film();
        for (decision, program) in [("full", "tv"), ("direct", "phone")] {
            run(&format!(
                "SELECT nebula.record_playback({ACTOR}, {FILE}, '{decision}', NULL, '{{}}', '{program}')"
            ));
        }
        assert_eq!(
            text("SELECT string_agg(decision || ' ' || program, ', ') FROM nebula.playback"),
            "direct phone"
        );
    }

    #[pg_test]
    fn attempts_that_only_waited_use_up_none() {
        film();
        let left = || text(&call("attempts_left", "transcode", ""));
        assert_eq!(left(), "4");
        for _ in 0..3 {
            run(&call("postpone_job", "transcode", ", '1 microsecond', 'waits for room'"));
            run("SELECT pg_sleep(0.001), nebula.release_due_jobs()");
            claim("transcode");
            assert_eq!(left(), "4");
        }
        run(&call("hand_back_job", "transcode", ", 'paused'"));
        claim("transcode");
        assert_eq!((left().as_str(), text("SELECT attempt FROM nebula.job_running").as_str()), ("4", "5"));
        run(&call("fail_job", "transcode", ", 'crashed'"));
        run("UPDATE nebula.job_waiting SET run_at = now(), ready = true");
        claim("transcode");
        assert_eq!(left(), "3");
    }

    /// Uploads a file that is no film, and does its job.
    fn companion(project: &str, folder: &str, name: &str, content_type: &str) -> String {
        run(&format!(
            "SELECT nebula.create_file({ACTOR}, gen_random_uuid(), '{project}', '{folder}', '{name}', 9,
                                       sha256('{name}'), '{content_type}', 'files/{name}', false)"
        ));
        let kind =
            text("SELECT coalesce(max(kind), 'none') FROM nebula.job_waiting WHERE kind ~ 'photo|subtitle'");
        if kind != "none" {
            claim(&kind);
            let content = format!("(SELECT content_id FROM nebula.file WHERE name = '{name}')");
            let made = if kind == "transcode-photo" { "poster" } else { "subtitle" };
            run(&call(
                "add_rendition",
                &kind,
                &format!(", {content}, '{made}', 'files/made/{name}', 9, sha256('x'), 'text/vtt'"),
            ));
            let told = r#"{"summary": {"sentences": ["Done."], "warnings": []}}"#;
            run(&call("describe_content", &kind, &format!(", {content}, '{told}'")));
            run(&call("complete_job", &kind, ""));
        }
        kind
    }

    /// Languages and labels of the subtitles beside the film.
    fn beside() -> String {
        text(
            "SELECT coalesce(string_agg(concat_ws(' ', detail ->> 'language', detail ->> 'label',
                                                  CASE WHEN (detail ->> 'forced')::boolean THEN 'forced' END),
                                        ', ' ORDER BY detail ->> 'file'), 'none')
               FROM nebula.file f
              CROSS JOIN LATERAL nebula.subtitles_beside(f.project_id, f.folder, f.name)
              WHERE f.content_id IN (SELECT content_id FROM nebula.content WHERE job_id IS NOT NULL)",
        )
    }

    #[pg_test]
    fn subtitles_belong_to_the_film_whose_name_theirs_begins_with() {
        let project = film();
        for (folder, name) in [
            ("films", "FILM.de.srt"),
            ("films", "film.en.forced.ass"),
            ("films", "film.pt-br.Commentary.vtt"),
            // Of another film, in another folder, and of none.
            ("films", "film.2.srt"),
            ("films", "filmography.srt"),
            ("", "film.fr.srt"),
        ] {
            assert_eq!(companion(&project, folder, name, "text/plain"), "transcode-subtitle", "{name}");
        }
        assert_eq!(companion(&project, "films", "film.txt", "text/plain"), "none");
        assert_eq!(beside(), "de, en forced, pt-br Commentary");
        let kinds = text(
            "SELECT count(*) FROM nebula.file_status f
                           CROSS JOIN LATERAL jsonb_array_elements(f.renditions) r
                           WHERE f.name = 'film.mkv' AND r ->> 'kind' ~ '^subtitle-[0-9a-f]{12}$'",
        );
        assert_eq!(kinds, "3");
        let found = format!(
            "SELECT string_agg(c.name, ' ' ORDER BY c.name)
               FROM nebula.playable_variants({ACTOR}, (SELECT file_id FROM nebula.file WHERE name = 'film.mkv')) v
              CROSS JOIN LATERAL nebula.file_content(
                {ACTOR}, (SELECT file_id FROM nebula.file WHERE name = 'film.mkv'), v ->> 'name') c"
        );
        assert_eq!(text(&found), "FILM.de.vtt film.en.forced.vtt film.pt-br.Commentary.vtt");
        let by_name = |name: &str| format!("(SELECT file_id FROM nebula.file WHERE name = '{name}')");
        run(&format!("SELECT nebula.trash_file({ACTOR}, {})", by_name("FILM.de.srt")));
        run(&format!(
            "SELECT nebula.move_file({ACTOR}, {}, '', 'film.en.srt')",
            by_name("film.en.forced.ass")
        ));
        assert_eq!(beside(), "pt-br Commentary");
        run(&format!("SELECT nebula.restore_file({ACTOR}, {})", by_name("FILM.de.srt")));
        assert_eq!(beside(), "de, pt-br Commentary");
        assert_eq!(text("SELECT count(*) FROM nebula.job_waiting"), "0", "nothing is made again");
    }

    #[pg_test]
    fn subtitles_that_count_in_pictures_are_made_again_when_the_rate_of_the_film_is_known() {
        let project = film();
        companion(&project, "films", "film.sub", "text/plain");
        companion(&project, "films", "film.srt", "text/plain");
        let rated = PLAN.replace("\"duration\"", "\"frameRate\": 25.0, \"duration\"");
        let of_film =
            format!(", (SELECT content_id FROM nebula.content WHERE job_id IS NOT NULL), '{rated}'");
        run(&call("plan_renditions", "transcode", &of_film));
        let asked = "SELECT string_agg((payload ->> 'name') || ' ' || (payload ->> 'frameRate'), ', ')
                       FROM nebula.job_waiting WHERE kind = 'transcode-subtitle'";
        assert_eq!(text(asked), "film.sub 25");
    }

    #[pg_test]
    fn a_preview_that_the_trash_stopped_is_made_after_a_restore() {
        let project = film();
        run(&format!(
            "SELECT nebula.create_file({ACTOR}, gen_random_uuid(), '{project}', '', 'photo.jpg', 9,
                                       sha256('photo'), 'image/jpeg', 'files/photo', false)"
        ));
        let photo = "(SELECT file_id FROM nebula.file WHERE name = 'photo.jpg')";
        assert_eq!(waiting(), "transcode-photo");
        run(&format!("SELECT nebula.trash_file({ACTOR}, {photo})"));
        assert_eq!(waiting(), "none");
        run(&format!("SELECT nebula.restore_file({ACTOR}, {photo})"));
        assert_eq!(waiting(), "transcode-photo");
        assert_eq!(text("SELECT state FROM nebula.file_status WHERE name = 'photo.jpg'"), "ready");
        claim("transcode-photo");
        assert_eq!(companion(&project, "", "raw.cr2", "image/x-canon-cr2"), "none", "raw photos stay files");
    }

    #[pg_test]
    fn the_links_of_a_deleted_account_are_found_by_an_index() {
        run("SET LOCAL enable_seqscan = off");
        let plan = "EXPLAIN (FORMAT JSON) DELETE FROM nebula.share
                     WHERE made_by = '00000000-0000-4000-8000-000000000000'";
        run(&format!(
            "CREATE FUNCTION pg_temp.plan() RETURNS text LANGUAGE plpgsql AS $f$
             DECLARE plan json; BEGIN EXECUTE $p${plan}$p$ INTO plan; RETURN plan; END $f$"
        ));
        let found = text("SELECT pg_temp.plan()");
        assert!(found.contains("share_maker_idx"), "{found}");
    }

    #[pg_test]
    fn an_account_has_so_many_links_and_those_that_ended_long_ago_make_room() {
        film();
        run(&format!(
            "INSERT INTO nebula.share (token_hash, project_id, file_id, made_by)
             SELECT sha256(n::text::bytea), project_id, file_id, {ACTOR}
               FROM nebula.file, generate_series(1, nebula.row_limit('links')) n"
        ));
        let create = format!("SELECT nebula.create_share({ACTOR}, {FILE}, sha256('another'))");
        assert_error(&create, "53Q00", &["10000 share links"]);
        let end = |ago: &str| {
            run(&format!(
                "UPDATE nebula.share SET revoked_at = now() - interval '{ago}' WHERE token_hash = sha256('1')"
            ));
        };
        end("80 days");
        assert_error(&create, "53Q00", &["10000 share links"]);
        end("100 days");
        run(&create);
    }

    #[pg_test]
    fn a_part_that_names_no_project_counts_to_the_one_with_most_room() {
        let [small, large] =
            ["small", "large"].map(|name| text(&format!("SELECT nebula.create_project('{name}')")));
        run("SELECT nebula.create_account('anna', '$argon2id$x', 'admin')");
        run(&format!("SELECT nebula.set_project_quota('{small}', 100)"));
        run(&format!("SELECT nebula.set_project_quota('{large}', 1000)"));
        let admit = |size: u32| {
            format!(
                "SELECT project_id FROM nebula.admit_upload({ACTOR}, gen_random_uuid(), NULL, {size}, NULL, '1 day')"
            )
        };
        assert_eq!(text(&admit(950)), large);
        assert_eq!(text(&admit(60)), small);
        assert_error(&admit(60), "53Q00", &["of them by unfinished uploads"]);
        run(&format!("SELECT nebula.set_project_quota('{small}', NULL)"));
        assert_eq!(text(&admit(5000)), small);
        run("DELETE FROM nebula.upload; UPDATE nebula.account SET role = 'member'");
        assert_error(&admit(1), "42501", &["into no project"]);
    }

    #[pg_test]
    fn files_are_counted_and_a_project_has_so_many() {
        let project = film();
        let create = |name: &str| {
            format!(
                "SELECT nebula.create_file({ACTOR}, gen_random_uuid(), '{project}', '', '{name}', 1000,
                                           sha256('{name}'), 'x/x', 'files/{name}', false)"
            )
        };
        run(&create("a"));
        run("DELETE FROM nebula.file WHERE name = 'film.mkv'");
        assert_eq!(text("SELECT sum(files) FROM nebula.file_count"), "1");
        run("UPDATE nebula.file_count SET files = files + nebula.row_limit('files') - 2");
        run(&create("b"));
        assert_error(&create("c"), "53Q00", &["the project has 1000000 files"]);
        run("DELETE FROM nebula.file WHERE name = 'b'");
        run(&create("c"));
    }
}
