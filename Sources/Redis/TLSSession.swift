import COpenSSL

/// The client's side of a TLS connection, as a transformer of bytes: it never sees a socket.
///
/// hiredis 0.14 knows no TLS. The server must show a certificate that is signed by one of the trusted authorities and
/// names the host; otherwise the handshake throws, before anything of ours has been encrypted. Not thread-safe; after
/// anything thrown let go of it.
@safe
final class TLSSession {
    /// The most bytes that are decrypted in one piece: those of a TLS record.
    private static let recordBytes = 16_384

    private let session: OpaquePointer
    /// What came from the server and what is to go there; both belong to the session.
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer
    private let authorities: String
    /// What ended the connection, when bytes came before it.
    private var end: RedisError?

    /// Prepares a handshake with a host.
    ///
    /// - Parameters:
    ///   - host: the name or address that the certificate must hold.
    ///   - authorities: path of a PEM file with the certificates of those who are trusted to sign.
    /// - Throws: `.connectFailed` when the file cannot be read or holds no certificate.
    init(host: String, authorities: String) throws(RedisError) {
        self.authorities = authorities
        guard let context = unsafe SSL_CTX_new(TLS_client_method()) else { throw Self.outOfMemory }
        // A session keeps its context alive by itself.
        defer { unsafe SSL_CTX_free(context) }
        ERR_clear_error()
        guard unsafe SSL_CTX_load_verify_locations(context, authorities, nil) == 1 else {
            throw RedisError(.connectFailed, "TLS: \(authorities) cannot be read as PEM certificates")
        }
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        guard unsafe jumun_ssl_require_tls_1_2(context) == 1, let session = unsafe SSL_new(context) else {
            throw Self.outOfMemory
        }
        guard let incoming = unsafe BIO_new(BIO_s_mem()), let outgoing = unsafe BIO_new(BIO_s_mem()) else {
            unsafe SSL_free(session)
            throw Self.outOfMemory
        }
        unsafe SSL_set_bio(session, incoming, outgoing)
        unsafe self.session = unsafe session
        unsafe self.incoming = unsafe incoming
        unsafe self.outgoing = unsafe outgoing
        guard unsafe Self.expect(host, session) else { throw Self.outOfMemory }
        unsafe SSL_set_connect_state(session)
    }

    deinit {
        unsafe SSL_free(session)
    }

    /// Makes the certificate's check one of the host too; an address is no name, and is not sent as one.
    private static func expect(_ host: String, _ session: OpaquePointer) -> Bool {
        if unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host) == 1 { return true }
        return unsafe SSL_set1_host(session, host) == 1 && jumun_ssl_name_server(session, host) == 1
    }

    /// Goes on with the handshake as far as what was received allows; true once it is done.
    func handshake() throws(RedisError) -> Bool {
        ERR_clear_error()
        let status = unsafe SSL_do_handshake(session)
        if status == 1 { return true }
        guard unsafe SSL_get_error(session, status) == SSL_ERROR_WANT_READ else {
            throw RedisError(.connectFailed, "TLS: \(refusal())")
        }
        return false
    }

    /// Takes bytes that came from the server, and gives what they hold for us. An end that comes with bytes is thrown
    /// the next time.
    func decrypt(_ bytes: ArraySlice<UInt8>) throws(RedisError) -> [UInt8] {
        if let end { throw end }
        if !bytes.isEmpty {
            // A buffer in memory takes everything at once.
            unsafe bytes.withUnsafeBytes { unsafe _ = BIO_write(incoming, $0.baseAddress, Int32($0.count)) }
        }
        var plain: [UInt8] = []
        guard unsafe SSL_is_init_finished(session) == 1 else { return plain }
        var record = [UInt8](repeating: 0, count: Self.recordBytes)
        while true {
            ERR_clear_error()
            let count = unsafe SSL_read(session, &record, Int32(record.count))
            if count > 0 {
                plain.append(contentsOf: record[..<Int(count)])
                continue
            }
            let reason: String
            switch unsafe SSL_get_error(session, count) {
            case SSL_ERROR_WANT_READ: return plain
            case SSL_ERROR_ZERO_RETURN: reason = "the server closed the connection"
            default: reason = "TLS: \(Self.lastReason)"
            }
            let error = RedisError(.connectionLost, reason)
            guard !plain.isEmpty else { throw error }
            end = error
            return plain
        }
    }

    /// Encrypts bytes; ``takeOutput()`` gives what is to be sent. Throws before the handshake is done.
    func encrypt(_ bytes: [UInt8]) throws(RedisError) {
        guard !bytes.isEmpty else { return }
        ERR_clear_error()
        let count = unsafe SSL_write(session, bytes, Int32(clamping: bytes.count))
        guard count == bytes.count else { throw RedisError(.connectionLost, "TLS: \(Self.lastReason)") }
    }

    /// The bytes that are to be sent to the server now.
    func takeOutput() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: unsafe BIO_ctrl_pending(outgoing))
        guard !bytes.isEmpty else { return bytes }
        let count = unsafe BIO_read(outgoing, &bytes, Int32(clamping: bytes.count))
        return Array(bytes.prefix(max(0, Int(count))))
    }

    /// Why the handshake failed, and what to look at.
    private func refusal() -> String {
        let result = unsafe SSL_get_verify_result(session)
        guard result != Int(X509_V_OK) else { return Self.lastReason }
        let reason = unsafe String(cString: X509_verify_cert_error_string(result))
        return "the server's certificate is refused: \(reason) (trusted authorities: \(authorities))"
    }

    private static var lastReason: String {
        guard let reason = unsafe ERR_reason_error_string(ERR_peek_last_error()) else { return "it broke off" }
        return unsafe String(cString: reason)
    }

    private static var outOfMemory: RedisError { RedisError(.connectFailed, "TLS: out of memory") }
}
