using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Cm;

public class RegistryCallbackTests : RegistryTest
{
    /// <summary>Registers a routine that notes what it sees, under a name, and answers.</summary>
    long Filter(string name, string altitude, Func<REG_NOTIFY_CLASS, PVOID, NTSTATUS>? answer = null)
    {
        Assert.Equal(STATUS_SUCCESS, CmRegisterCallbackEx((context, what, information) =>
        {
            var kind = (REG_NOTIFY_CLASS)what.Address;
            if (kind is not (RegNtPreKeyHandleClose or RegNtPostKeyHandleClose)) Step($"{name} {kind}");
            return answer?.Invoke(kind, information) ?? STATUS_SUCCESS;
        }, RTL_CONSTANT_STRING(altitude), DriverObject, new PVOID(5), out long cookie, default));
        return cookie;
    }

    [Fact]
    public void Routines_are_called_from_the_highest_altitude_down_and_back() => Run(() =>
    {
        HANDLE key = Create(Path);
        long low = Filter("low", "1000"), high = Filter("high", "360000.5");
        Assert.Equal(STATUS_SUCCESS, CmRegisterCallback((_, what, _) =>
        {
            Step($"old {(REG_NOTIFY_CLASS)what.Address}");
            return STATUS_SUCCESS;
        }, default, out long old));
        Set(key, "v", REG_BINARY, 1);
        Assert.Equal(
        [
            $"old {RegNtPreSetValueKey}", $"high {RegNtPreSetValueKey}", $"low {RegNtPreSetValueKey}",
            $"low {RegNtPostSetValueKey}", $"high {RegNtPostSetValueKey}", $"old {RegNtPostSetValueKey}",
        ], Steps);
        foreach (long cookie in (long[])[low, high, old]) Assert.Equal(STATUS_SUCCESS, CmUnRegisterCallback(cookie));
        Assert.Equal(STATUS_INVALID_PARAMETER, CmUnRegisterCallback(low));
        Set(key, "v", REG_BINARY, 2);
        Assert.Equal(6, Steps.Count);
    });

    [Fact]
    public void An_altitude_belongs_to_one_routine() => Run(() =>
    {
        Filter("a", "1000");
        Assert.Equal(STATUS_FLT_INSTANCE_ALTITUDE_COLLISION,
            CmRegisterCallbackEx((_, _, _) => STATUS_SUCCESS, RTL_CONSTANT_STRING("1000.0"), DriverObject, default, out _, default));
    });

    [Fact]
    public void A_routine_sees_what_is_done() => Run(() =>
    {
        HANDLE key = Create(Path);
        PVOID keyObject = default;
        Filter("f", "1", (what, information) =>
        {
            switch (what)
            {
                case RegNtPreSetValueKey:
                    PREG_SET_VALUE_KEY_INFORMATION set = new(information.Address);
                    Step($"{Strings.Read(set.ValueName)} {set.Type} {set.DataSize} {GuestMemory.Ref<byte>(set.Data.Address)}");
                    set.CallContext = new PVOID(99);
                    keyObject = set.Object;
                    break;
                case RegNtPostSetValueKey:
                    PREG_POST_OPERATION_INFORMATION post = new(information.Address);
                    Step($"{post.Status.Name} {post.CallContext.Address} {post.Object == keyObject}");
                    break;
            }
            return STATUS_SUCCESS;
        });
        Set(key, "v", REG_BINARY, 7, 8);
        Assert.Equal(["v 3 2 7", "STATUS_SUCCESS 99 True"], Steps.Where(s => !s.StartsWith("f ", StringComparison.Ordinal)));
    });

    [Fact]
    public void Every_service_on_keys_is_seen() => Run(() =>
    {
        HANDLE key = Create(Path);
        Filter("f", "1");
        HANDLE child = Create("child", key);
        ZwOpenKey(out HANDLE again, KEY_READ, Attributes("child", key));
        Set(child, "v", REG_BINARY, 1);
        PVOID buffer = Memory(256);
        ZwQueryKey(child, KeyBasicInformation, buffer, 256, out _);
        ZwEnumerateKey(key, 0, KeyBasicInformation, buffer, 256, out _);
        ZwQueryValueKey(child, RTL_CONSTANT_STRING("v"), KeyValuePartialInformation, buffer, 256, out uint length);
        Assert.Equal(13u, length);
        ZwEnumerateValueKey(child, 0, KeyValueBasicInformation, buffer, 256, out _);
        ZwDeleteValueKey(child, RTL_CONSTANT_STRING("v"));
        ZwFlushKey(child);
        ZwRenameKey(child, RTL_CONSTANT_STRING("renamed"));
        ZwDeleteKey(child);
        ZwClose(again);
        REG_NOTIFY_CLASS[] seen =
        [
            RegNtPreCreateKeyEx, RegNtPostCreateKeyEx, RegNtPreOpenKeyEx, RegNtPostOpenKeyEx, RegNtPreSetValueKey, RegNtPostSetValueKey, RegNtPreQueryKey,
            RegNtPostQueryKey, RegNtPreEnumerateKey, RegNtPostEnumerateKey, RegNtPreQueryValueKey, RegNtPostQueryValueKey, RegNtPreEnumerateValueKey,
            RegNtPostEnumerateValueKey, RegNtPreDeleteValueKey, RegNtPostDeleteValueKey, RegNtPreFlushKey, RegNtPostFlushKey, RegNtPreRenameKey,
            RegNtPostRenameKey, RegNtPreDeleteKey, RegNtPostDeleteKey,
        ];
        Assert.Equal(seen.Select(s => $"f {s}"), Steps);
    });

    [Fact]
    public void A_handle_that_is_closed_is_seen_with_its_key() => Run(() =>
    {
        HANDLE key = Create(Path);
        List<(REG_NOTIFY_CLASS, bool)> seen = [];
        CmRegisterCallbackEx((_, what, information) =>
        {
            seen.Add(((REG_NOTIFY_CLASS)what.Address, GuestMemory.Ref<PVOID>(information.Address).IsNull));
            return STATUS_SUCCESS;
        }, RTL_CONSTANT_STRING("1"), DriverObject, default, out _, default);
        ZwClose(key);
        Assert.Equal([(RegNtPreKeyHandleClose, false), (RegNtPostKeyHandleClose, false)], seen);
    });

    [Fact]
    public void A_routine_can_refuse_and_those_above_are_told() => Run(() =>
    {
        HANDLE key = Create(Path);
        Filter("low", "1");
        Filter("middle", "2", (what, _) => what == RegNtPreSetValueKey ? STATUS_ACCESS_DENIED : STATUS_SUCCESS);
        Filter("high", "3", (what, information) =>
        {
            if (what == RegNtPostSetValueKey) Assert.Equal(STATUS_ACCESS_DENIED, new PREG_POST_OPERATION_INFORMATION(information.Address).Status);
            return STATUS_SUCCESS;
        });
        Assert.Equal(STATUS_ACCESS_DENIED, Set(key, "v", REG_BINARY, 1));
        Assert.Equal([$"high {RegNtPreSetValueKey}", $"middle {RegNtPreSetValueKey}", $"high {RegNtPostSetValueKey}"], Steps);
        Assert.Null(Machine.Registry.Find(Path)!.Value("v"));
    });

    [Fact]
    public void A_routine_can_do_the_work_itself_or_change_the_result() => Run(() =>
    {
        HANDLE key = Create(Path);
        bool bypasses = true;
        Filter("f", "1", (what, information) =>
        {
            if (what == RegNtPreQueryValueKey && bypasses)
            {
                PREG_QUERY_VALUE_KEY_INFORMATION query = new(information.Address);
                GuestMemory.Write(query.KeyValueInformation.Address, 4).Fill(3);
                query.ResultLength.Value = 4;
                return STATUS_CALLBACK_BYPASS;
            }
            if (what != RegNtPostQueryValueKey) return STATUS_SUCCESS;
            new PREG_POST_OPERATION_INFORMATION(information.Address).ReturnStatus = STATUS_NO_MORE_ENTRIES;
            return STATUS_CALLBACK_BYPASS;
        });
        PVOID buffer = Memory(16);
        Assert.Equal(STATUS_SUCCESS, ZwQueryValueKey(key, RTL_CONSTANT_STRING("none"), KeyValuePartialInformation, buffer, 16, out uint length));
        Assert.Equal(4u, length);
        Assert.Equal([3, 3, 3, 3, 0], Bytes(buffer, 5));
        bypasses = false;
        Assert.Equal(STATUS_NO_MORE_ENTRIES, ZwQueryValueKey(key, RTL_CONSTANT_STRING("none"), KeyValuePartialInformation, buffer, 16, out _));
    });

    [Fact]
    public void A_routine_can_ask_for_the_name_of_a_key_and_the_version() => Run(() =>
    {
        HANDLE key = Create(Path);
        PLARGE_INTEGER cookie = new(Memory(8).Address);
        PPVOID name = new(Memory(8).Address);
        PULONG64 first = new(Memory(8).Address);
        cookie.Value = Filter("f", "1", (what, information) =>
        {
            PVOID target = GuestMemory.Ref<PVOID>(information.Address);
            if (what != RegNtPreSetValueKey) return STATUS_SUCCESS;
            Assert.Equal(STATUS_SUCCESS, CmCallbackGetKeyObjectIDEx(cookie, target, first, name, 0));
            Step(Strings.Read(new PUNICODE_STRING(name.Value.Address)));
            CmCallbackReleaseKeyObjectIDEx(new PUNICODE_STRING(name.Value.Address));
            return STATUS_SUCCESS;
        });
        Set(key, "v", REG_BINARY, 1);
        Assert.Equal(@"\REGISTRY\Machine\Software\Test", Steps[1]);
        Assert.NotEqual(0ul, first.Value);
        Assert.Equal(STATUS_INVALID_PARAMETER, CmCallbackGetKeyObjectIDEx(cookie, cookie, default, default, 0));
        PULONG major = new(Memory(8).Address), minor = new(major.Address + 4);
        CmGetCallbackVersion(major, minor);
        Assert.Equal((1u, 1u), (major.Value, minor.Value));
    });

    [Fact]
    public void A_routine_that_removes_itself_waits_for_ever()
    {
        var hang = Assert.Throws<MachineHungException>(() => Run(() =>
        {
            HANDLE key = Create(Path);
            long cookie = 0;
            cookie = Filter("f", "1", (_, _) => CmUnRegisterCallback(cookie));
            Set(key, "v", REG_BINARY, 1);
        }));
        Assert.Contains("CmUnRegisterCallback", hang.Message);
    }
}
