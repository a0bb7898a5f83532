vcl 4.1;

backend origin {
    .host = "@ORIGIN_HOST@";
    .port = "@ORIGIN_PORT@";
}

sub vcl_recv {
    if (req.url ~ "^/cached/") {
        return (hash);
    }
    return (pass);
}
