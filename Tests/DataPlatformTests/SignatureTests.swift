import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import OpsMetrics
import ServiceRuntime
import Testing
import WebhookSignature

@testable import DataPlatform

@Suite("Signatures at the platform", .timeLimit(.minutes(1)))
struct SignatureTests {
    private static let key = "whsec_" + Data(repeating: 7, count: 32).base64EncodedString()
    private static let otherKey = "whsec_" + Data(repeating: 8, count: 32).base64EncodedString()
    private static let event = Array(#"{"specversion":"1.0","id":"1","source":"/o","type":"t","subject":"s"}"#.utf8)

    private func status(
        _ check: SignatureCheck,
        signedWith key: String?,
        secondsAgo: Int64 = 0
    ) async throws -> (Int, String) {
        let metrics = MetricsRegistry()
        let routes = PlatformRoutes(platform: Platform(metrics: metrics), signatures: check)
        var headers: HTTPFields = [.contentType: "application/cloudevents+json"]
        if let key {
            let timestamp = Int64(Date().timeIntervalSince1970) - secondsAgo
            let signature = try SigningKeys(key).signatures(id: "1", timestamp: timestamp, body: Self.event)
            headers[try #require(HTTPField.Name("webhook-id"))] = "1"
            headers[try #require(HTTPField.Name("webhook-timestamp"))] = "\(timestamp)"
            headers[try #require(HTTPField.Name("webhook-signature"))] = signature
        }
        return try await Application(router: routes.router(metrics: metrics)).test(.router) { [headers] client in
            let response = try await client.execute(
                uri: "/v1/events",
                method: .post,
                headers: headers,
                body: ByteBuffer(bytes: Self.event)
            )
            return (response.status.code, String(buffer: response.body))
        }
    }

    @Test(
        "one that fits is accepted, one that doesn't or is old is not, and who doesn't sign is, unless told otherwise"
    )
    func verdicts() async throws {
        let check = SignatureCheck(keys: try SigningKeys(Self.key), isRequired: false)
        #expect(try await status(check, signedWith: Self.key).0 == 202)
        #expect(try await status(check, signedWith: "\(Self.otherKey) \(Self.key)").0 == 202)
        #expect(try await status(check, signedWith: nil).0 == 202)
        let wrong = try await status(check, signedWith: Self.otherKey)
        #expect(wrong.0 == 401)
        #expect(wrong.1.contains("signature_invalid"))
        let old = try await status(check, signedWith: Self.key, secondsAgo: 301)
        #expect(old.0 == 401)
        #expect(old.1.contains("signature_untimely"))
        let strict = SignatureCheck(keys: try SigningKeys(Self.key), isRequired: true)
        let unsigned = try await status(strict, signedWith: nil)
        #expect(unsigned.0 == 401)
        #expect(unsigned.1.contains("signature_required"))
        #expect(try await status(strict, signedWith: Self.key).0 == 202)
    }

    @Test("without keys signatures are not looked at")
    func noKeys() async throws {
        let check = try SignatureCheck(Settings([:]))
        #expect(try await status(check, signedWith: Self.key).0 == 202)
        #expect(try await status(check, signedWith: nil).0 == 202)
    }

    @Test(
        "wrong settings are refused",
        arguments: [
            ["PLATFORM_SIGNING_KEYS": "secret"], ["PLATFORM_REQUIRE_SIGNATURE": "true"],
            ["PLATFORM_REQUIRE_SIGNATURE": "maybe"],
        ]
    )
    func settings(values: [String: String]) {
        #expect(throws: SettingsError.self) { try SignatureCheck(Settings(values)) }
    }
}
