use pgrx::prelude::*;

/// Costs that must not grow with the number of peers.
#[pg_schema]
mod tests {
    use crate::tests::peers::{applied, create, node, sync};
    use crate::tests::{project, run, text};
    use pgrx::prelude::*;

    /// Rows of peers and their addresses that this transaction has read.
    fn rows_read() -> i64 {
        text(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint
               FROM pg_stat_xact_user_tables
              WHERE schemaname = 'nebula' AND relname IN ('peer', 'allocation')",
        )
        .parse()
        .expect("a number")
    }

    #[pg_test]
    fn a_report_without_news_reads_no_peers() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ", reach => 'all'"));
        run(&format!(
            "SELECT nebula.create_peers('{project}', ARRAY(
               SELECT jsonb_build_object('publicKey', encode(sha256(('many ' || n)::bytea), 'base64'),
                                         'name', 'many ' || n)
                 FROM generate_series(1, 90) n))"
        ));
        applied(&interface);
        let before = rows_read();
        applied(&interface);
        let read = rows_read() - before;
        assert!(read < 30, "{read} rows");
        // The state for a new agent has them all.
        let all = sync(&interface, "jsonb_build_object('generation', 0)");
        assert_eq!(all.matches("publicKey").count(), 91);
        assert!(rows_read() - before > 91);
    }
}
