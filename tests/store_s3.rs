//! The loop on a real S3 server.

use crate::support::s3::S3Server;

#[test]
fn server_starts() {
    let Some(server) = S3Server::for_test("server_starts") else { return };
    let _ = server.store_section("bucket");
}
