using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Cm;

public class RegistryValuesTests : RegistryTest
{
    PRTL_QUERY_REGISTRY_TABLE Table(params RTL_QUERY_REGISTRY_TABLE[] rows)
    {
        PVOID memory = Memory((rows.Length + 1) * RTL_QUERY_REGISTRY_TABLE.SizeOf);
        for (int i = 0; i < rows.Length; i++) new PRTL_QUERY_REGISTRY_TABLE(memory.Address + (ulong)(i * RTL_QUERY_REGISTRY_TABLE.SizeOf)).Value = rows[i];
        return new PRTL_QUERY_REGISTRY_TABLE(memory.Address);
    }

    NTSTATUS Query(params RTL_QUERY_REGISTRY_TABLE[] rows) => RtlQueryRegistryValues(RTL_REGISTRY_ABSOLUTE, Text(Path), Table(rows), default, default);

    RTL_QUERY_REGISTRY_TABLE Row(string? name, uint flags = 0, RTL_QUERY_REGISTRY_ROUTINE? routine = null, PVOID entry = default, uint defaultType = REG_NONE) => new()
    {
        QueryRoutine = routine is null ? default : Routine(routine),
        Flags = flags,
        Name = name is null ? default : Text(name),
        EntryContext = entry,
        DefaultType = defaultType,
    };

    // Writes down what it is told: name, type and text or length.
    NTSTATUS Tell(PWSTR name, uint type, PVOID data, uint length, PVOID context, PVOID entry)
    {
        string what = type == REG_SZ ? Encoding.Unicode.GetString(Bytes(data, (int)length)).TrimEnd('\0') : $"{length} bytes";
        string itsName = name.IsNull ? "nothing" : Encoding.Unicode.GetString(Bytes(name, 2));
        Step($"{itsName} {type} {what}");
        return STATUS_SUCCESS;
    }

    HANDLE Prepared()
    {
        HANDLE key = Create(Path);
        Set(key, "s", REG_SZ, Wide("text\0"));
        Set(key, "m", REG_MULTI_SZ, Wide("one\0two\0\0"));
        Set(key, "e", REG_EXPAND_SZ, Wide("%SystemRoot%\\x\0"));
        Set(key, "d", REG_DWORD, 0x78, 0x56, 0x34, 0x12);
        Set(key, "q", REG_QWORD, 1, 2, 3, 4, 5, 6, 7, 8);
        return key;
    }

    [Fact]
    public void A_routine_is_called_for_each_value_and_each_string() => Run(() =>
    {
        Prepared();
        Assert.Equal(STATUS_SUCCESS, Query(Row("s", 0, Tell), Row("m", 0, Tell), Row("e", 0, Tell), Row("m", RTL_QUERY_REGISTRY_NOEXPAND, Tell), Row(null, RTL_QUERY_REGISTRY_NOVALUE, Tell)));
        Assert.Equal(["s 1 text", "m 1 one", "m 1 two", @"e 1 \SystemRoot\x", "m 7 18 bytes", "nothing 0 0 bytes"], Steps);
    });

    [Fact]
    public void Without_a_name_all_values_are_told() => Run(() =>
    {
        Prepared();
        Assert.Equal(STATUS_SUCCESS, Query(Row(null, RTL_QUERY_REGISTRY_NOEXPAND, Tell)));
        Assert.Equal(["s 1 text", "m 7 18 bytes", "e 2 30 bytes", "d 4 4 bytes", "q 11 8 bytes"], Steps);
    });

    [Fact]
    public void Subkeys_change_what_later_rows_mean() => Run(() =>
    {
        HANDLE key = Prepared(), below = Create("below", key);
        Set(below, "s", REG_SZ, Wide("deep\0"));
        Assert.Equal(STATUS_SUCCESS, Query(Row("below", RTL_QUERY_REGISTRY_SUBKEY), Row("s", 0, Tell), Row("s", RTL_QUERY_REGISTRY_TOPKEY, Tell), Row("below", RTL_QUERY_REGISTRY_SUBKEY, Tell)));
        Assert.Equal(["s 1 deep", "s 1 text", "s 1 deep"], Steps);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Query(Row("nowhere", RTL_QUERY_REGISTRY_SUBKEY)));
    });

    [Fact]
    public void Variables_are_filled_directly() => Run(() =>
    {
        Prepared();
        PVOID number = Memory(4), text = Memory(UNICODE_STRING.SizeOf), large = Memory(32), bare = Memory(32);
        GuestMemory.Ref<int>(large.Address) = 16;
        GuestMemory.Ref<int>(bare.Address) = -8;
        const uint direct = RTL_QUERY_REGISTRY_DIRECT;
        Assert.Equal(STATUS_SUCCESS, Query(Row("d", direct, null, number), Row("s", direct, null, text), Row("q", direct, null, large), Row("q", direct, null, bare)));
        Assert.Equal(0x12345678u, GuestMemory.Ref<uint>(number.Address));
        PUNICODE_STRING read = new(text.Address);
        Assert.Equal((8, 10), (read.Length, read.MaximumLength));
        Assert.Equal("text\0", Encoding.Unicode.GetString(Bytes(read.Buffer, 10)));
        ExFreePool(read.Buffer);
        Assert.Equal((8, REG_QWORD), (GuestMemory.Ref<int>(large.Address), GuestMemory.Ref<uint>(large.Address + 4)));
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], Bytes(new PVOID(large.Address + 8), 8));
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], Bytes(bare, 8));
    });

    [Fact]
    public void Buffers_that_are_too_small_and_types_that_differ_are_refused() => Run(() =>
    {
        Prepared();
        PVOID large = Memory(32), text = Memory(32), number = Memory(4);
        GuestMemory.Ref<int>(large.Address) = 15;
        const uint direct = RTL_QUERY_REGISTRY_DIRECT, checkedDirect = RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK;
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, Query(Row("q", direct, null, large)));
        RtlInitEmptyUnicodeString(new PUNICODE_STRING(text.Address), new PWSTR(text.Address + 16), 8);
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, Query(Row("s", direct, null, text)));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, Query(Row("s", checkedDirect, null, number, REG_DWORD << 24)));
        Assert.Equal(STATUS_SUCCESS, Query(Row("d", checkedDirect, null, number, REG_DWORD << 24)));
        Assert.Equal(STATUS_INVALID_PARAMETER, Query(Row("d", direct, Tell, number)));
        Assert.Equal(STATUS_INVALID_PARAMETER, Query(Row(null, direct, null, number)));
        Assert.Equal(STATUS_INVALID_PARAMETER, RtlQueryRegistryValuesEx(RTL_REGISTRY_ABSOLUTE, Text(Path), Table(Row("d", direct, null, number)), default, default));
        Assert.Equal(STATUS_SUCCESS, RtlQueryRegistryValuesEx(RTL_REGISTRY_ABSOLUTE, Text(Path), Table(Row("d", checkedDirect, null, number, REG_DWORD << 24)), default, default));
    });

    [Fact]
    public void Missing_values_have_defaults_unless_they_are_required() => Run(() =>
    {
        Prepared();
        RTL_QUERY_REGISTRY_TABLE row = Row("x", 0, Tell, default, REG_SZ);
        row.DefaultData = Text("fallback");
        Assert.Equal(STATUS_SUCCESS, Query(row, Row("y", 0, Tell)));
        Assert.Equal(["x 1 fallback"], Steps);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Query(Row("x", RTL_QUERY_REGISTRY_REQUIRED, Tell)));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, Text("nobody"), Table(), default, default));
        Assert.Equal(STATUS_SUCCESS, RtlQueryRegistryValues(RTL_REGISTRY_SERVICES | RTL_REGISTRY_OPTIONAL, Text("nobody"), Table(), default, default));
    });

    [Fact]
    public void A_routine_that_fails_ends_the_query_and_its_values_can_be_deleted() => Run(() =>
    {
        HANDLE key = Prepared();
        Assert.Equal(STATUS_ACCESS_DENIED, Query(Row("s", 0, (_, _, _, _, _, _) => STATUS_ACCESS_DENIED), Row("d", 0, Tell)));
        Assert.Equal(STATUS_SUCCESS, Query(Row("s", 0, (_, _, _, _, _, _) => STATUS_BUFFER_TOO_SMALL), Row("d", RTL_QUERY_REGISTRY_DELETE, Tell)));
        Assert.Equal(["d 4 4 bytes"], Steps);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ZwDeleteValueKey(key, RTL_CONSTANT_STRING("d")));
    });

    [Fact]
    public void Values_are_written_and_deleted_by_path_and_by_handle() => Run(() =>
    {
        PVOID data = Memory(4);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, RtlCheckRegistryKey(RTL_REGISTRY_SERVICES, Text(@"test\Parameters")));
        Assert.Equal(STATUS_SUCCESS, RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, Text(@"test\Parameters"), Text("n"), REG_DWORD, data, 4));
        Assert.Equal(STATUS_SUCCESS, RtlCheckRegistryKey(RTL_REGISTRY_SERVICES, Text(@"test\Parameters")));
        Assert.Equal(STATUS_SUCCESS, RtlDeleteRegistryValue(RTL_REGISTRY_SERVICES, Text(@"test\Parameters"), Text("n")));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, RtlDeleteRegistryValue(RTL_REGISTRY_SERVICES, Text(@"test\Parameters"), Text("n")));
        Assert.Equal(STATUS_SUCCESS, RtlCreateRegistryKey(RTL_REGISTRY_ABSOLUTE, Text(Path)));
        HANDLE key = Create(Path);
        Assert.Equal(STATUS_SUCCESS, RtlWriteRegistryValue(RTL_REGISTRY_HANDLE, new PWSTR(key.Value), Text("h"), REG_DWORD, data, 4));
        Assert.Equal(STATUS_SUCCESS, ZwDeleteValueKey(key, RTL_CONSTANT_STRING("h")));
        Assert.Equal(STATUS_INVALID_PARAMETER, RtlCheckRegistryKey(99, Text("x")));
    });
}
