//! The client id of this node. The broker knows the node's session by it, so it has to survive a restart, and two nodes
//! must not share one: each would end the other's connection.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use super::Error;

/// `configured`, or the id kept in `data_dir`, which the first start makes up.
pub(super) fn client_id(data_dir: &Path, configured: &str) -> Result<String, Error> {
    if !configured.is_empty() {
        return Ok(configured.to_owned());
    }
    let path = data_dir.join("bridge").join("client-id");
    kept(&path).map_err(|source| Error::ClientId { path, source })
}

fn kept(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let id = text.trim();
            let is_ours = id.starts_with("sensorgate-") && id.len() <= 64;
            let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file holds no client id");
            is_ours.then(|| id.to_owned()).ok_or_else(damaged)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => made(path),
        Err(error) => Err(error),
    }
}

/// Makes one up and has it on disk before the broker hears of it.
fn made(path: &Path) -> io::Result<String> {
    let mut random = [0; 6];
    getrandom::fill(&mut random)?;
    let id = format!("sensorgate-{}", hex::encode(random));
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(format!("{id}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_id_and_no_two_share_one() {
        let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let id = |dir: &Path| client_id(dir, "").expect("an id");
        assert_eq!(id(one.path()), id(one.path()));
        assert_ne!(id(one.path()), id(two.path()));
        assert_eq!(client_id(one.path(), "node-a").expect("an id"), "node-a");
        fs::write(one.path().join("bridge/client-id"), "").expect("written");
        let error = client_id(one.path(), "").expect_err("an emptied file is not replaced in silence");
        assert!(error.to_string().contains("client-id"), "{error}");
    }
}
