//! A backup: one file with the rows of all databases. What is on the shards comes first and the main database last, so
//! that it knows whose every device in it is; each is as it was at a moment of its own.

use crate::settings::Settings;
use crate::shards;
use crate::store::{Restoring, Store, schema};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use tempfile::NamedTempFile;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Stands for a table in a line that says of which database the rows after it are.
const DATABASE: &str = "database";

/// The same in the last line, which says how many rows there are before it.
const END: &str = "end";

/// There is a file of that name only when all is in it. How many rows that is.
pub async fn back_up(settings: &Settings, main: &Arc<Store>, file: &Path) -> Result<u64> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    let unfinished = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    let mut writer = BufWriter::new(unfinished);
    writeln!(writer, "{}", head())?;
    let mut rows = 0;
    for (name, store) in shards::databases(settings, main).await? {
        writeln!(writer, "{}", json!([DATABASE, { "name": name }]))?;
        rows += store.backup(&mut writer).await?;
    }
    writeln!(writer, "{}", json!([END, { "rows": rows }]))?;
    let unfinished = writer.into_inner()?;
    unfinished.as_file().sync_all()?;
    unfinished.persist_noclobber(file)?;
    Ok(rows)
}

/// Into empty databases, the shards among them of the ranges that it was made of. Nothing is written of a backup that
/// is not whole, or has no place. How many rows there are.
pub async fn restore(settings: &Settings, main: &Arc<Store>, file: &Path) -> Result<u64> {
    let databases = shards::databases(settings, main).await?;
    let find = |name: &str| databases.iter().find(|(known, _)| known == name);
    let (names, rows) = look_through(file)?;
    if let Some(name) = names.iter().find(|name| find(name).is_none()) {
        let all = names.join("`, `");
        return Err(format!(
            "this backup has the databases `{all}`, but --shard names none for just `{name}`: give its ranges a \
             database, and change them by `lakh-origin reshard` afterwards"
        )
        .into());
    }
    let mut current: Option<Restoring> = None;
    for line in lines(file)? {
        let (table, row) = line?;
        match table.as_str() {
            DATABASE => {
                finish(current.take()).await?;
                let (_, store) = find(&name_in(&row)).expect("all were looked for");
                current = Some(store.restoring().await?);
            }
            END => {}
            table => {
                let current = current.as_mut().ok_or("rows of no database")?;
                current.insert(table, row).await?;
            }
        }
    }
    finish(current).await?;
    for (_, store) in &databases {
        store.close().await;
    }
    Ok(rows)
}

async fn finish(restoring: Option<Restoring>) -> Result<()> {
    match restoring {
        Some(restoring) => restoring.finish().await,
        None => Ok(()),
    }
}

/// Which databases it has, and how many rows, when all of them are there.
fn look_through(file: &Path) -> Result<(Vec<String>, u64)> {
    let (mut names, mut rows, mut announced) = (Vec::new(), 0, None);
    for line in lines(file)? {
        let (table, row) = line?;
        match table.as_str() {
            DATABASE => names.push(name_in(&row)),
            END => announced = row.get("rows").and_then(Value::as_u64),
            _ => rows += 1,
        }
    }
    match announced == Some(rows) {
        true => Ok((names, rows)),
        false => Err("this backup is not whole: its end is missing, or some of its rows".into()),
    }
}

/// After the first one.
fn lines(file: &Path) -> Result<impl Iterator<Item = Result<(String, Map<String, Value>)>>> {
    let mut lines = BufReader::new(File::open(file)?).lines();
    let first = lines.next().ok_or("the file is empty")??;
    if first != head() {
        return Err("this is no backup that this version has written".into());
    }
    Ok(lines.map(|line| Ok(serde_json::from_str(&line?)?)))
}

fn head() -> String {
    json!({ "lakh-origin": "backup", "schema": schema() }).to_string()
}

fn name_in(row: &Map<String, Value>) -> String {
    let name = row.get("name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}
