import FoundationEssentials
import HTTPTypes
import ServiceRuntime
import WebhookSignature

/// Whether requests come from whom we share a key with (Standard Webhooks).
struct SignatureCheck: Sendable {
    private enum Required: String, CaseIterable {
        case yes = "true"
        case no = "false"
    }

    /// Without keys no signature is looked at.
    let keys: SigningKeys?
    /// Whether a request must have a signature: people post by hand as well.
    let isRequired: Bool

    init(keys: SigningKeys?, isRequired: Bool) {
        self.keys = keys
        self.isRequired = isRequired
    }

    /// Reads the environment; throws `SettingsError`.
    init(_ settings: Settings) throws {
        let text = try settings.secret("PLATFORM_SIGNING_KEYS", default: "")
        isRequired = try settings.choice("PLATFORM_REQUIRE_SIGNATURE", default: Required.no) == .yes
        do throws(SigningKeys.Malformed) {
            keys = text.isEmpty ? nil : try SigningKeys(text)
        } catch {
            throw SettingsError(key: "PLATFORM_SIGNING_KEYS", problem: error.description)
        }
        if isRequired, keys == nil {
            throw SettingsError(
                key: "PLATFORM_REQUIRE_SIGNATURE",
                problem: "is true, and PLATFORM_SIGNING_KEYS is not set"
            )
        }
    }

    /// Throws a 401 when a request's signature does not fit, or is missing and required.
    func check(_ headers: HTTPFields, body: [UInt8], now: Date) throws(Problem) {
        guard let keys else { return }
        let value = { (name: String) in HTTPField.Name(name).flatMap { headers[$0] } }
        guard let signature = value("webhook-signature") else {
            guard isRequired else { return }
            throw Problem(
                status: .unauthorized,
                code: "signature_required",
                detail: "Expected webhook-id, webhook-timestamp and webhook-signature (Standard Webhooks)."
            )
        }
        let verdict = keys.verdict(
            on: signature,
            id: value("webhook-id") ?? "",
            timestamp: value("webhook-timestamp") ?? "",
            body: body,
            now: Int64(now.timeIntervalSince1970)
        )
        switch verdict {
        case .valid: return
        case .untimely:
            let detail = "webhook-timestamp must be within 5 minutes of now, in seconds since 1970."
            throw Problem(status: .unauthorized, code: "signature_untimely", detail: detail)
        case .wrong:
            let detail = "webhook-signature fits none of the keys for this id, timestamp and body."
            throw Problem(status: .unauthorized, code: "signature_invalid", detail: detail)
        }
    }
}
