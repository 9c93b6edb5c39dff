//! The cost of only reading the records: the same keys with the same client in the same pipelines.

use std::time::Duration;

use redb::ReadableDatabase;
use tokio::time::Instant;

use super::{
    read, say,
    server::{PREFIX, Place},
};

/// The records per page, as in Sandglass.
const PAGE: usize = 1000;

/// Reads all records of a place, and returns their number and the time.
pub(super) async fn run(setup: &str) {
    let began = Instant::now();
    let count = match read(setup) {
        Place::Nowhere => 0,
        Place::File(path) => read_file(&path),
        Place::Redis(url) => read_redis(&url).await,
    };
    say(&(count, began.elapsed().as_secs_f64()));
}

async fn read_redis(url: &str) -> usize {
    let client = redis::Client::open(url).expect("the URL is understood");
    let config = redis::aio::ConnectionManagerConfig::new().set_connection_timeout(Some(Duration::from_secs(10)));
    let config = config.set_response_timeout(None);
    let mut connection = client.get_connection_manager_with_config(config).await.expect("a connection");
    let (mut cursor, mut count) = (b"0".to_vec(), 0);
    loop {
        let mut scan = redis::cmd("ZSCAN");
        scan.arg(format!("{PREFIX}:active")).arg(&cursor).arg("COUNT").arg(PAGE);
        let (next, members): (Vec<u8>, Vec<(Vec<u8>, f64)>) = scan.query_async(&mut connection).await.expect("a page");
        let mut pipeline = redis::pipe();
        for (member, _) in &members {
            let key = [format!("{PREFIX}-session:").as_bytes(), member].concat();
            pipeline.cmd("HGET").arg(key).arg("__sandbox__");
        }
        let records: Vec<Vec<u8>> = pipeline.query_async(&mut connection).await.expect("the records");
        count += std::hint::black_box(records).len();
        if next == b"0" {
            return count;
        }
        cursor = next;
    }
}

fn read_file(path: &std::path::Path) -> usize {
    type Records = redb::TableDefinition<'static, &'static [u8], (f64, &'static [u8])>;
    let database = redb::Builder::new().set_cache_size(32 * 1024 * 1024).open(path).expect("the file");
    let (mut last, mut count): (Option<Vec<u8>>, _) = (None, 0);
    loop {
        let table = database.begin_read().expect("a read").open_table(Records::new("sandboxes")).expect("the table");
        let after = last.as_deref().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let rows = table.range::<&[u8]>((after, std::ops::Bound::Unbounded)).expect("rows");
        let page: Vec<_> = rows
            .take(PAGE)
            .map(|row| {
                let (member, value) = row.expect("a row");
                (member.value().to_vec(), value.value().0, value.value().1.to_vec())
            })
            .collect();
        count += page.len();
        if page.len() < PAGE {
            return count;
        }
        last = std::hint::black_box(page).pop().map(|(member, ..)| member);
    }
}
