import Foundation
import Testing

@testable import DataPlatform

@Suite("Raw JSON")
struct RawJSONTests {
    @Test(
        "the elements of an array come out byte for byte",
        arguments: [
            ("[]", []), (" [ ] \n", []), ("[1]", ["1"]), ("[ {} ,\t[1, 2] ]", ["{}", "[1, 2]"]),
            (#"[{"a":"],[}{\"\\"},"x\\\",",null]"#, [#"{"a":"],[}{\"\\"}"#, #""x\\\",""#, "null"]),
            (#"[{"a":[{"b":[]}]},{"주문":"🧾"}]"#, [#"{"a":[{"b":[]}]}"#, #"{"주문":"🧾"}"#]),
        ] as [(String, [String])]
    )
    func elements(array: String, elements: [String]) {
        let cut = RawJSON.elements(ofArray: Array(array.utf8)).map { String(decoding: $0, as: UTF8.self) }
        #expect(cut == elements)
    }

    @Test(
        "numbers are checked as RFC 8259 has them",
        arguments: [
            ("0", true), ("-0", true), ("10", true), ("1.5", true), ("1e5", true), ("-1.25E+10", true), ("01", false),
            ("1.", false), ("-", false), ("1.2.3", false), ("1e", false), ("1e+", false), ("--1", false),
            ("1-2", false),
        ]
    )
    func numbers(text: String, isRight: Bool) {
        #expect(RawJSON.isInterchangeable(Array("[\(text)]".utf8)) == isRight)
        #expect(RawJSON.isInterchangeable(Array("{\"a\":[true,\(text),\"-1-e\"]}".utf8)) == isRight)
    }

    @Test("text that is not plain UTF-8 is refused")
    func encodings() throws {
        let text = #"{"a":"b"}"#
        #expect(RawJSON.isInterchangeable(Array(text.utf8)))
        #expect(!RawJSON.isInterchangeable([0xEF, 0xBB, 0xBF] + Array(text.utf8)))
        for encoding in [String.Encoding.utf16LittleEndian, .utf16BigEndian, .utf16, .utf32] {
            #expect(!RawJSON.isInterchangeable(Array(try #require(text.data(using: encoding)))))
        }
        #expect(!RawJSON.isInterchangeable(Array(#"{"a":""#.utf8) + [0xC3, 0x28] + Array(#""}"#.utf8)))
        #expect(!RawJSON.isInterchangeable([]))
    }
}
