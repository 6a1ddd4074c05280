import ServiceRuntime
import Testing

@testable import Operations
@testable import OrderCtl

@Suite("What people see")
struct ConsoleTests {
    @Test("columns line up, and no line has spaces at its end")
    func table() {
        var table = TextTable([("NAME", .left), ("COUNT", .right), ("NOTE", .left)])
        table.add(["a", "1,000", ""])
        table.add(["longer", "7", "first"])
        #expect(
            table.text == """
                NAME    COUNT  NOTE
                a       1,000
                longer      7  first
                """
        )
    }

    @Test("numbers and times are said as people say them")
    func words() {
        #expect([0, 999, 1_000, 1_234_567, -1_000].map(grouped) == ["0", "999", "1,000", "1,234,567", "-1,000"])
        let times: [(Double, String)] = [
            (0, "0 ms"), (0.85, "850 ms"), (1, "1 s"), (59.9, "59 s"), (200, "3 min 20 s"), (300, "5 min"),
            (7_200, "2 h"), (7_500, "2 h 5 min"),
            (356_400, "4 d 3 h"), (-1, "0 ms"),
        ]
        for (seconds, text) in times { #expect(spoken(seconds: seconds) == text) }
        #expect(shortened("a\nb", to: 10) == "a b")
        #expect(shortened("abcdef", to: 4) == "abc…")
    }
}
