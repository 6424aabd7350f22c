//! A call of each route, and the status with which it serves a caller who may.

/// A call. In path, query and body stand `{id}` and `$id` for the object that is made for it, `$project`, `$account` (the
/// caller) and `$hex`, 64 digits that no other call has.
pub(super) struct Call {
    /// Method and path, as the documentation has them.
    pub(super) route: &'static str,
    /// Kind of the object that the path names, see `objects`; empty: none.
    pub(super) object: &'static str,
    pub(super) query: &'static str,
    pub(super) body: &'static str,
    pub(super) status: u16,
}

const fn plain(route: &'static str) -> Call {
    Call { route, object: "", query: "", body: "", status: 200 }
}

const fn about(route: &'static str, object: &'static str) -> Call {
    Call { object, ..plain(route) }
}

const fn list(route: &'static str) -> Call {
    Call { query: "projectId=$project", ..plain(route) }
}

const fn with(route: &'static str, object: &'static str, body: &'static str) -> Call {
    Call { body, ..about(route, object) }
}

/// For callers who may, the answer is still this refusal: the object that the call would need is none of this story.
const fn but(status: u16, call: Call) -> Call {
    Call { status, ..call }
}

pub(super) const CALLS: &[Call] = &[
    plain("GET /api/auth/me"),
    plain("GET /api/sessions"),
    plain("DELETE /api/sessions"),
    about("DELETE /api/sessions/{id}", "session"),
    with("POST /api/account/tokens", "", r#"{"name": "$uuid", "scopes": ["read"]}"#),
    plain("GET /api/account/tokens"),
    about("DELETE /api/account/tokens/{id}", "token"),
    about("GET /api/accounts/{id}/tokens", "account"),
    plain("GET /api/accounts"),
    with("PATCH /api/accounts/{id}", "account", r#"{"disabled": true}"#),
    about("DELETE /api/accounts/{id}", "account"),
    about("GET /api/accounts/{id}/sessions", "account"),
    about("DELETE /api/accounts/{id}/totp", "authenticator"),
    with("PUT /api/account/password", "", r#"{"oldPassword": "$password", "newPassword": "$password"}"#),
    plain("GET /api/account/totp"),
    with("POST /api/account/totp", "", r#"{"password": "$password"}"#),
    but(400, with("PUT /api/account/totp", "", r#"{"code": "none"}"#)),
    with("POST /api/account/totp/end", "", r#"{"password": "$password"}"#),
    with("POST /api/invitations", "", r#"{"role": "member"}"#),
    plain("GET /api/invitations"),
    with("POST /api/projects/{projectId}/invitations", "", r#"{"role": "viewer"}"#),
    plain("GET /api/projects/{projectId}/invitations"),
    about("DELETE /api/invitations/{id}", "invitation"),
    but(404, with("POST /api/invitations/join", "", r#"{"code": "none"}"#)),
    with(
        "POST /api/nebula/register",
        "",
        r#"{"projectId": "$project", "deviceId": "$uuid", "deviceName": "$uuid", "publicKey": "$hex"}"#,
    ),
    about("GET /api/nebula/status/{deviceId}", "device"),
    about("POST /api/nebula/release/{deviceId}", "device"),
    with("POST /api/enrolments", "", r#"{"projectId": "$project"}"#),
    list("GET /api/enrolments"),
    about("DELETE /api/enrolments/{id}", "enrolment"),
    Call {
        query: "request=$hex",
        ..with("POST /api/enrolments/approve", "", r#"{"projectId": "$project", "name": "$uuid"}"#)
    },
    plain("GET /api/projects/{projectId}/configuration"),
    with("PATCH /api/projects/{projectId}/configuration", "", r#"{"mtu": 1300}"#),
    with("PUT /api/devices/{deviceId}/groups", "device", r#"{"groups": []}"#),
    about("POST /api/devices/{deviceId}/revoke", "device"),
    about("GET /api/devices/{deviceId}/revocation", "revoked device"),
    about("POST /api/certificates/{fingerprint}/revoke", "certificate"),
    list("GET /api/firewall"),
    with(
        "POST /api/firewall",
        "",
        r#"{"projectId": "$project", "direction": "inbound", "protocol": "any", "note": "$uuid"}"#,
    ),
    about("DELETE /api/firewall/{rule}", "rule"),
    list("GET /api/routes"),
    with(
        "POST /api/routes",
        "device",
        r#"{"projectId": "$project", "network": "$network", "deviceId": "$id"}"#,
    ),
    Call { query: "projectId=$project&network=$id", ..about("DELETE /api/routes", "route") },
    plain("GET /api/projects"),
    plain("GET /api/projects/{projectId}/members"),
    with("PUT /api/projects/{projectId}/members", "account name", r#"{"username": "$id", "role": "viewer"}"#),
    about("DELETE /api/projects/{projectId}/members/{id}", "member"),
    plain("GET /api/quotas"),
    with("PUT /api/quotas/{subject}/{id}", "project", r#"{"maxBytes": 1000000000}"#),
    with("POST /api/projects", "", r#"{"name": "$uuid"}"#),
    list("GET /api/pools"),
    with("POST /api/pools", "", r#"{"projectId": "$project", "name": "$uuid", "cidr": "$cidr"}"#),
    Call {
        query: "projectId=$project&name=$id",
        ..with("PATCH /api/pools", "pool", r#"{"enabled": false}"#)
    },
    Call { query: "projectId=$project&name=$id", ..about("DELETE /api/pools", "pool") },
    list("GET /api/devices"),
    Call { query: "deviceId=$id", ..about("GET /api/certificates", "device with certificate") },
    plain("GET /api/authorities"),
    plain("GET /api/rotations"),
    plain("GET /api/nodes"),
    with("POST /api/nodes", "", r#"{"name": "$uuid", "endpoint": "192.0.2.1:51820"}"#),
    list("GET /api/nodes/enabled"),
    with("PATCH /api/nodes/{nodeId}", "node", r#"{"weight": 50}"#),
    about("DELETE /api/nodes/{nodeId}", "node"),
    with("PUT /api/nodes/{nodeId}/device", "node", r#"{"deviceId": null}"#),
    about("GET /api/nodes/{nodeId}/secret", "node"),
    about("POST /api/nodes/{nodeId}/secret", "node"),
    about("DELETE /api/nodes/{nodeId}/secret", "node with secrets"),
    with("PUT /api/nodes/{nodeId}/interfaces/{name}", "node", r#"{"mtu": 1300}"#),
    about("DELETE /api/nodes/{nodeId}/interfaces/{name}", "node"),
    with("PUT /api/projects/{projectId}/local-device", "device", r#"{"deviceId": "$id"}"#),
    list("GET /api/peers"),
    with(
        "POST /api/peers",
        "",
        r#"{"projectId": "$project", "strategy": "local", "peers": [{"name": "$uuid", "publicKey": "$key"}]}"#,
    ),
    but(409, about("GET /api/peers/{peerId}/config", "peer")),
    with("PATCH /api/peers/{peerId}", "peer", r#"{"disabled": true}"#),
    with("POST /api/peers/move", "peer", r#"{"peerIds": ["$id"], "strategy": "local"}"#),
    but(409, about("DELETE /api/peers/{peerId}/move", "peer")),
    with("POST /api/peers/remove", "peer", r#"{"peerIds": ["$id"]}"#),
    about("DELETE /api/peers/{peerId}", "peer"),
    list("GET /api/jobs"),
    about("GET /api/jobs/{id}", "job"),
    about("POST /api/jobs/{id}/cancel", "job"),
    about("POST /api/jobs/{id}/retry", "cancelled job"),
    list("GET /api/events"),
    list("GET /api/events/follow"),
    list("GET /api/events/export"),
    Call { query: "from=$id&to=$id&port=22", ..about("GET /api/access/explain", "device") },
    with("POST /api/access/preview", "", r#"{"projectId": "$project"}"#),
    about("GET /api/pools/{id}/map", "pool number"),
    list("GET /api/network"),
    list("GET /api/series"),
    plain("GET /api/stream"),
    Call { query: "projectId=$project&name=$uuid", ..but(201, with("POST /api/files", "", "bytes")) },
    but(201, plain("POST /api/uploads")),
    but(404, about("HEAD /api/uploads/{id}", "upload")),
    but(404, about("PATCH /api/uploads/{id}", "upload")),
    but(404, about("DELETE /api/uploads/{id}", "upload")),
    list("GET /api/files"),
    about("GET /api/files/{id}", "file"),
    with("PATCH /api/files/{id}", "file", r#"{"name": "$uuid"}"#),
    but(409, with("PUT /api/files/{id}/conversion", "file", r#"{"wanted": true}"#)),
    with("PUT /api/files/{id}/tags", "file", r#"{"tags": ["new"]}"#),
    list("GET /api/tags"),
    about("POST /api/files/{id}/link", "file"),
    with("POST /api/files/{id}/playback", "file", "{}"),
    list("GET /api/folders"),
    with("POST /api/folders/move", "folder", r#"{"projectId": "$project", "folder": "$id", "to": "to/$id"}"#),
    Call { query: "projectId=$project&folder=$id", ..about("DELETE /api/folders", "folder") },
    about("DELETE /api/files/{id}", "file"),
    list("GET /api/trash"),
    with("POST /api/trash/{id}/restore", "trashed file", "{}"),
    about("DELETE /api/trash/{id}", "trashed file"),
    Call { query: "projectId=$project", ..about("DELETE /api/trash", "trashed file") },
    with("PUT /api/files/{id}/bookmark", "file", r#"{"seconds": 1}"#),
    about("DELETE /api/files/{id}/bookmark", "file"),
    plain("GET /api/bookmarks"),
    with("POST /api/shares", "file", r#"{"fileId": "$id"}"#),
    list("GET /api/shares"),
    about("DELETE /api/shares/{id}", "share"),
    about("GET /api/files/{id}/content", "stored file"),
    about("HEAD /api/files/{id}/content", "stored file"),
    but(404, about("GET /api/files/{id}/hls/master.m3u8", "file")),
    but(404, about("GET /api/files/{id}/hls/{variant}.m3u8", "file")),
    but(404, about("GET /api/files/{id}/hls/{variant}/init.mp4", "file")),
    but(404, about("GET /api/files/{id}/hls/{variant}/{chunk}-{segment}.m4s", "file")),
    but(404, about("GET /api/files/{id}/hls/{subtitle}.vtt", "file")),
    with("POST /api/files/{id}/hls/seek", "file", r#"{"seconds": 1}"#),
    but(404, about("GET /api/files/{id}/poster", "file")),
    but(404, about("HEAD /api/files/{id}/poster", "file")),
    but(404, about("GET /api/files/{id}/sprites.vtt", "file")),
    but(404, about("GET /api/files/{id}/sprites/{sheet}.jpg", "file")),
    but(404, about("HEAD /api/files/{id}/sprites/{sheet}.jpg", "file")),
    plain("GET /api/system"),
    but(404, with("POST /api/rotations", "", r#"{"projectId": "$project", "fingerprint": "$hex"}"#)),
    but(409, plain("POST /api/rotations/{projectId}/force")),
    but(409, plain("POST /api/rotations/{projectId}/cancel")),
];
