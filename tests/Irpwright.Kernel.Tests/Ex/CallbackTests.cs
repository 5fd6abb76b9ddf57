using Irpwright.Kernel.Tests.Ke;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ex;

public class CallbackTests : SynchronizationTest
{
    POBJECT_ATTRIBUTES Attributes(string name, OBJ_FLAGS flags = OBJ_CASE_INSENSITIVE | OBJ_PERMANENT)
    {
        var attributes = new POBJECT_ATTRIBUTES(Memory(OBJECT_ATTRIBUTES.SizeOf).Address);
        InitializeObjectAttributes(attributes, RTL_CONSTANT_STRING(name), flags, default, default);
        return attributes;
    }

    PVOID Callback(string name, bool allowMultiple = true)
    {
        Assert.Equal(STATUS_SUCCESS, ExCreateCallback(out PVOID callback, Attributes(name), true, allowMultiple));
        return callback;
    }

    CALLBACK_FUNCTION Note(string name) => (context, first, second) => Step($"{name} {context.Address} {first.Address} {second.Address} at {KeGetCurrentIrql()}");

    [Fact]
    public void Routines_are_called_in_order_with_context_and_arguments() => Run(() =>
    {
        PVOID callback = Callback(@"\Callback\Test");
        PVOID first = ExRegisterCallback(callback, Note("first"), new PVOID(7));
        PVOID second = ExRegisterCallback(callback, Note("second"), new PVOID(8));
        Assert.NotEqual(first, second);
        ExNotifyCallback(callback, new PVOID(1), new PVOID(2));
        ExUnregisterCallback(first);
        KeRaiseIrql(DISPATCH_LEVEL, out KIRQL old);
        ExNotifyCallback(callback, new PVOID(3), new PVOID(4));
        KeLowerIrql(old);
        ExUnregisterCallback(second);
        ExNotifyCallback(callback, default, default);
        Assert.Equal(["first 7 1 2 at 0", "second 8 1 2 at 0", "second 8 3 4 at 2"], Steps);
    });

    [Fact]
    public void Others_find_the_object_by_its_name() => Run(() =>
    {
        PVOID callback = Callback(@"\Callback\Shared");
        Assert.Equal(STATUS_SUCCESS, ExCreateCallback(out PVOID opened, Attributes(@"\callback\shared"), false, false));
        Assert.Equal(callback, opened);
        Assert.Equal(STATUS_SUCCESS, ExCreateCallback(out opened, Attributes(@"\Callback\Shared"), true, false));
        Assert.Equal(callback, opened);
        ExRegisterCallback(opened, Note("found"), default);
        ExNotifyCallback(callback, default, default);
        Assert.Single(Steps);
    });

    [Fact]
    public void Without_a_name_or_an_object_it_fails() => Run(() =>
    {
        var unnamed = new POBJECT_ATTRIBUTES(Memory(OBJECT_ATTRIBUTES.SizeOf).Address);
        InitializeObjectAttributes(unnamed, default, 0, default, default);
        Assert.Equal(STATUS_UNSUCCESSFUL, ExCreateCallback(out _, unnamed, true, true));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ExCreateCallback(out _, Attributes(@"\Callback\Missing"), false, true));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ExCreateCallback(out _, Attributes(@"\Device"), false, true));
    });

    [Fact]
    public void An_object_for_one_routine_takes_no_second_one() => Run(() =>
    {
        PVOID callback = Callback(@"\Callback\Single", allowMultiple: false);
        PVOID first = ExRegisterCallback(callback, Note("first"), default);
        Assert.False(first.IsNull);
        Assert.True(ExRegisterCallback(callback, Note("second"), default).IsNull);
        ExUnregisterCallback(first);
        Assert.False(ExRegisterCallback(callback, Note("third"), default).IsNull);
    });

    [Theory]
    [InlineData(@"\Callback\SetSystemTime")]
    [InlineData(@"\Callback\PowerState")]
    [InlineData(@"\Callback\ProcessorAdd")]
    public void The_systems_own_objects_are_there(string name) => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, ExCreateCallback(out PVOID callback, Attributes(name, OBJ_CASE_INSENSITIVE), false, false));
        Assert.False(ExRegisterCallback(callback, Note("first"), default).IsNull);
        Assert.False(ExRegisterCallback(callback, Note("second"), default).IsNull);
    });

    [Fact]
    public void Unregistering_waits_until_the_routine_has_returned() => Run(() =>
    {
        PVOID callback = Callback(@"\Callback\Busy");
        PKEVENT entered = Event(), end = Event();
        PVOID registration = ExRegisterCallback(callback, (_, _, _) =>
        {
            KeSetEvent(entered, 0, false);
            Wait(end);
            Step("returned");
        }, default);
        Fork(() => ExNotifyCallback(callback, default, default));
        Wait(entered);
        Fork(() =>
        {
            ExUnregisterCallback(registration);
            Step("unregistered");
        });
        Sleep(3);
        Assert.Empty(Steps);
        KeSetEvent(end, 0, false);
        Join();
        Assert.Equal(["returned", "unregistered"], Steps);
    });
}
