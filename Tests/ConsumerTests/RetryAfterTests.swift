import Foundation
import Testing

@testable import Consumer

@Suite("Retry-After")
struct RetryAfterTests {
    /// Sun, 06 Nov 1994 08:49:37 GMT.
    private let now = Date(timeIntervalSince1970: 784_111_777)

    @Test("seconds and dates are understood")
    func understood() {
        #expect(RetryAfter.duration("0", now: now) == .zero)
        #expect(RetryAfter.duration("120", now: now) == .seconds(120))
        #expect(RetryAfter.duration("Sun, 06 Nov 1994 08:50:07 GMT", now: now) == .seconds(30))
        #expect(RetryAfter.duration("Sun, 06 Nov 1994 08:00:00 GMT", now: now) == .zero)
    }

    @Test("anything else is as if it weren't there", arguments: ["", "-1", "1.5", "soon", "99999999999999999999"])
    func ignored(text: String) {
        #expect(RetryAfter.duration(text, now: now) == nil)
    }
}
