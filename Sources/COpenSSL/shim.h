#ifndef JUMUN_COpenSSL_SHIM_H
#define JUMUN_COpenSSL_SHIM_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* Macros with casts, which Swift doesn't import. */
static inline int jumun_ssl_require_tls_1_2(SSL_CTX *context) {
    return (int)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
}

static inline int jumun_ssl_name_server(SSL *session, const char *host) {
    return (int)SSL_set_tlsext_host_name(session, host);
}

#endif
