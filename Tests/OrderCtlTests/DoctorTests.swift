import Foundation
import Testing

@testable import OrderCtl

@Suite("The doctor's findings")
struct DoctorTests {
    @Test("Redis that evicts is a warning")
    func redis() {
        #expect(ServiceExamination.redis("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n").verdict == .ok)
        #expect(ServiceExamination.redis("maxmemory:1000\r\nmaxmemory_policy:noeviction\r\n").verdict == .ok)
        let evicting = ServiceExamination.redis("maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n")
        #expect(evicting.verdict == .warn && evicting.finding.contains("allkeys-lru"))
    }

    @Test("HTTP's times are read")
    func httpDate() {
        let expected = Date(timeIntervalSince1970: 1_769_850_300)
        #expect(ServiceExamination.httpDate("Sat, 31 Jan 2026 09:05:00 GMT") == expected)
        #expect(ServiceExamination.httpDate("Thu, 1 Jan 1970 00:00:00 GMT") == Date(timeIntervalSince1970: 0))
        for text in ["", "now", "Sat, 31 Foo 2026 09:05:00 GMT"] { #expect(ServiceExamination.httpDate(text) == nil) }
    }

    @Test("what is wrong stands with what to do")
    func text() {
        let text = Finding.text([.ok("redis", "reached"), .fail("relay", "none", "start order-api")])
        #expect(
            text == """
                VERDICT  CHECK  FINDING
                ok       redis  reached
                fail     relay  none
                                → start order-api

                1 ok, 0 warn, 1 fail, 0 unknown
                """
        )
    }
}
