import Crypto
import FoundationEssentials

/// The keys that requests are signed with, as the Standard Webhooks specification says: one, or two during a rotation.
///
/// A signature is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; the header `webhook-signature` holds
/// one for each key, with spaces between. Neither description nor reflection shows a key.
package struct SigningKeys: Sendable, CustomStringConvertible, CustomReflectable {
    /// Why a text has no keys in it; never quotes it.
    package struct Malformed: Error, Equatable, CustomStringConvertible {
        /// What is wrong and what would be right.
        package let description: String
    }

    /// What a receiver makes of a signature.
    package enum Verdict: Sendable, Equatable {
        case valid
        /// The timestamp is no number, or too far from now.
        case untimely
        /// None of the signatures fits any of the keys.
        case wrong
    }

    /// The specification's sizes of a key, in bytes.
    package static let keyBytes = 24...64
    /// How far the timestamp may be off.
    package static let tolerance = Duration.seconds(300)
    private static let prefix = "whsec_"

    private let keys: [SymmetricKey]

    /// Reads one or two keys, `whsec_` and base64, with a space between.
    package init(_ text: String) throws(Malformed) {
        let words = text.split(separator: " ")
        guard (1...2).contains(words.count) else {
            throw Malformed(description: "has \(words.count) keys: expected one, or two during a rotation")
        }
        keys = try words.map { word throws(Malformed) in
            guard word.hasPrefix(Self.prefix), let key = Data(base64Encoded: String(word.dropFirst(Self.prefix.count))),
                Self.keyBytes.contains(key.count)
            else {
                throw Malformed(description: "has a key that is not whsec_ and the base64 of 24 to 64 bytes")
            }
            return SymmetricKey(data: key)
        }
    }

    /// The value of `webhook-signature`: a signature with each key.
    ///
    /// - Parameters:
    ///   - id: the value of `webhook-id`.
    ///   - timestamp: the value of `webhook-timestamp`, in seconds since 1970.
    ///   - body: the bytes that are sent.
    package func signatures(id: String, timestamp: Int64, body: some Sequence<UInt8>) -> String {
        let signed = Self.signed(id: id, timestamp: "\(timestamp)", body: body)
        return keys.map { key in
            "v1," + Data(HMAC<SHA256>.authenticationCode(for: signed, using: key)).base64EncodedString()
        }
        .joined(separator: " ")
    }

    /// Checks what a request carries; the comparison takes the same time wherever a signature is wrong.
    ///
    /// - Parameters:
    ///   - signatures: the header `webhook-signature`; versions other than `v1` are passed over.
    ///   - id: the header `webhook-id`.
    ///   - timestamp: the header `webhook-timestamp`.
    ///   - body: the bytes as they came.
    ///   - now: seconds since 1970.
    package func verdict(
        on signatures: String,
        id: String,
        timestamp: String,
        body: some Sequence<UInt8>,
        now: Int64
    ) -> Verdict {
        guard let sentAt = Int64(timestamp), sentAt.subtractingReportingOverflow(now).overflow == false,
            (now - sentAt).magnitude <= UInt64(Self.tolerance.components.seconds)
        else { return .untimely }
        let signed = Self.signed(id: id, timestamp: timestamp, body: body)
        for word in signatures.split(separator: " ") where word.hasPrefix("v1,") {
            guard let code = Data(base64Encoded: String(word.dropFirst(3))) else { continue }
            let fits = keys.contains {
                HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: signed, using: $0)
            }
            if fits { return .valid }
        }
        return .wrong
    }

    /// How many keys there are.
    package var description: String { "\(keys.count) signing key\(keys.count == 1 ? "" : "s")" }

    /// Shows the description only.
    package var customMirror: Mirror { Mirror(self, children: ["description": description]) }

    private static func signed(id: String, timestamp: String, body: some Sequence<UInt8>) -> Data {
        var signed = Data("\(id).\(timestamp).".utf8)
        signed.append(contentsOf: body)
        return signed
    }
}
