"""The web servers of Debian that test_deployment runs, and what their configurations are part of.

That is as small as it can be, and has no ports and folders of the system. Words in braces are
filled in by `proxy_support.Proxy`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A web server.

    Attributes:
        name: That of the program, and of Debian's package.
        check: The arguments that check the configuration.
        run: The arguments that serve in the foreground.
        main: What the site's configuration becomes a part of.
        replaced: What is different in the site's.
    """

    name: str
    check: str
    run: str
    main: str
    replaced: Mapping[str, str]


_CERTIFICATE_FILES = {
    "/etc/ssl/ws.example.org/fullchain.pem": "{folder}/fullchain.pem",
    "/etc/ssl/ws.example.org/privkey.pem": "{folder}/privkey.pem",
}

NGINX = Program(
    name="nginx",
    check="-e stderr -p {folder} -c {main} -t",
    run="-e stderr -p {folder} -c {main}",
    main="""\
daemon off;
pid nginx.pid;
worker_processes 1;
{user of nginx}
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include {site};
}
""",
    replaced={"listen 443 ssl;": "listen 127.0.0.1:{port} ssl;", **_CERTIFICATE_FILES},
)

HAPROXY = Program(
    name="haproxy",
    check="-c -f {main} -f {site}",
    run="-db -f {main} -f {site}",
    main="global\n    maxconn 100\n",
    replaced={
        "bind :443 ssl": "bind 127.0.0.1:{port} ssl",
        "/etc/haproxy/ws.example.org.pem": "{folder}/both.pem",
    },
)

APACHE = Program(
    name="apache2",
    check="-d {folder} -f {main} -t",
    run="-d {folder} -f {main} -DFOREGROUND",
    main="""\
ServerName 127.0.0.1
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog /dev/stderr
StartServers 1
Listen 127.0.0.1:{port}
{user of apache}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
Include {site}
""",
    replaced={"<VirtualHost *:443>": "<VirtualHost 127.0.0.1:{port}>", **_CERTIFICATE_FILES},
)

CADDY = Program(
    name="caddy",
    check="validate --adapter caddyfile --config {main}",
    run="run --adapter caddyfile --config {main}",
    main="""\
{
	admin off
	auto_https disable_redirects
	default_bind 127.0.0.1
}
import {site}
""",
    replaced={
        "ws.example.org {": (
            "ws.example.org:{port} {\n\ttls {folder}/fullchain.pem {folder}/privkey.pem"
        )
    },
)
