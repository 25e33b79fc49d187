# Varnish between TUF clients and a bucket. Replace what is marked with "yours". The rules are those
# of nginx.conf in this folder.
vcl 4.1;

backend bucket {
	.host = "example-index.s3.eu-central-1.amazonaws.com"; # yours; Varnish speaks no TLS: put stunnel or nginx between
	.port = "80";
}

sub vcl_recv {
	if (req.method != "GET" && req.method != "HEAD") {
		return (synth(405));
	}
	set req.http.Host = "example-index.s3.eu-central-1.amazonaws.com"; # yours
	set req.url = regsub(req.url, "\?.*$", "");
	unset req.http.Authorization;
	unset req.http.Cookie;
	return (hash);
}

sub vcl_backend_response {
	# Varnish would serve all stale for 10 seconds more.
	set beresp.grace = 0s;
	set beresp.keep = 0s;
	# It keeps a 404 for two minutes by default, and knows nothing of no-cache. What is uncacheable isn't kept: for the
	# time of its ttl Varnish remembers only that, and asks for it side by side. Otherwise clients that ask for the
	# same would wait in line. Once there is a 200 that may be kept, it is.
	if (beresp.status != 200 || beresp.http.Cache-Control ~ "no-cache") {
		set beresp.ttl = 1m;
		set beresp.uncacheable = true;
		return (deliver);
	}
	set beresp.do_gzip = true;
}
