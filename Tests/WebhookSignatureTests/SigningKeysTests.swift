import Testing

@testable import WebhookSignature

@Suite("Signatures of the Standard Webhooks specification")
struct SigningKeysTests {
    private static let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    private static let otherKey = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    private static let id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    private static let body = Array(#"{"test": 2432232314}"#.utf8)
    private static let sentAt: Int64 = 1_614_265_330
    private static let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    @Test("the example of the specification's authors comes out")
    func example() throws {
        let keys = try SigningKeys(Self.key)
        #expect(keys.signatures(id: Self.id, timestamp: Self.sentAt, body: Self.body) == Self.signature)
    }

    @Test("two keys make two signatures, and one that fits is enough")
    func rotation() throws {
        let both = try SigningKeys("\(Self.otherKey) \(Self.key)")
        let signatures = both.signatures(id: Self.id, timestamp: Self.sentAt, body: Self.body)
        #expect(signatures.split(separator: " ").count == 2)
        #expect(signatures.hasSuffix(" \(Self.signature)"))
        for receiver in [Self.key, Self.otherKey] {
            #expect(try verdict(SigningKeys(receiver), signatures) == .valid)
        }
        #expect(verdict(both, "v1a,something \(Self.signature)") == .valid)
    }

    @Test("another body, id, key, version or text is wrong")
    func wrong() throws {
        let keys = try SigningKeys(Self.key)
        #expect(verdict(keys, Self.signature, body: Self.body + [32]) == .wrong)
        #expect(verdict(keys, Self.signature, id: "msg_2") == .wrong)
        #expect(try verdict(SigningKeys(Self.otherKey), Self.signature) == .wrong)
        #expect(verdict(keys, Self.signature.replacing("v1,", with: "v2,")) == .wrong)
        #expect(verdict(keys, "") == .wrong)
        #expect(verdict(keys, "v1,%%%") == .wrong)
    }

    @Test(
        "a timestamp more than five minutes off is untimely",
        arguments: [(0, true), (300, true), (-300, true), (301, false), (-301, false)]
    )
    func time(seconds: Int64, isTimely: Bool) throws {
        let keys = try SigningKeys(Self.key)
        let verdict = verdict(keys, Self.signature, now: Self.sentAt + seconds)
        #expect(verdict == (isTimely ? .valid : .untimely))
    }

    @Test("a timestamp that is no number is untimely", arguments: ["", "noon", "99999999999999999999", "\(Int64.min)"])
    func noTime(text: String) throws {
        let keys = try SigningKeys(Self.key)
        let verdict = keys.verdict(on: Self.signature, id: Self.id, timestamp: text, body: Self.body, now: Self.sentAt)
        #expect(verdict == .untimely)
    }

    @Test(
        "what is no key is refused without being shown",
        arguments: ["", "whsec_", "whsec_c2hvcnQ=", "secret", key.replacing("whsec_", with: ""), "whsec_%%%%"]
    )
    func malformed(text: String) {
        let error = #expect(throws: SigningKeys.Malformed.self) { try SigningKeys(text) }
        if !text.isEmpty { #expect(error?.description.contains(text.dropFirst(6)) == text.dropFirst(6).isEmpty) }
        #expect(throws: SigningKeys.Malformed.self) { try SigningKeys("\(Self.key) \(Self.key) \(Self.key)") }
    }

    @Test("keys are not shown")
    func secrecy() throws {
        let keys = try SigningKeys(Self.key)
        #expect("\(keys)" == "1 signing key")
        var dumped = ""
        dump(keys, to: &dumped)
        #expect(!dumped.contains("Symmetric"))
    }

    private func verdict(
        _ keys: SigningKeys,
        _ signatures: String,
        id: String = id,
        body: [UInt8] = body,
        now: Int64 = sentAt
    ) -> SigningKeys.Verdict {
        keys.verdict(on: signatures, id: id, timestamp: "\(Self.sentAt)", body: body, now: now)
    }
}
