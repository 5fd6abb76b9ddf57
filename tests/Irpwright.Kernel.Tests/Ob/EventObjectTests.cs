using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ob;

public class EventObjectTests : ObjectTest
{
    HANDLE New(string? name, EVENT_TYPE type = NotificationEvent, bool signalled = false)
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateEvent(out HANDLE handle, EVENT_ALL_ACCESS, Attributes(name), type, signalled));
        return handle;
    }

    PKEVENT EventOf(HANDLE handle) => (PKEVENT)Object(handle);

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_thread_waits_for_an_event_that_another_opens_by_name_and_sets(Scheduling scheduling) => Run(scheduling, () =>
    {
        HANDLE handle = New(@"\BaseNamedObjects\Mine", SynchronizationEvent);
        Start(() =>
        {
            Assert.Equal(STATUS_SUCCESS, ZwOpenEvent(out HANDLE other, EVENT_MODIFY_STATE, Attributes(@"\BaseNamedObjects\Mine")));
            Assert.Equal(STATUS_SUCCESS, ZwSetEvent(other, default));
            ZwClose(other);
        });
        Assert.Equal(STATUS_SUCCESS, ZwWaitForSingleObject(handle, false, null));
        Assert.Equal(STATUS_TIMEOUT, ZwWaitForSingleObject(handle, false, 0)); // the wait reset it
    });

    [Fact]
    public void Setting_and_resetting_tell_the_previous_state() => Run(() =>
    {
        HANDLE handle = New(null);
        var previous = new PLONG(Memory(4).Address);
        previous.Value = 7;
        Assert.Equal(STATUS_SUCCESS, ZwSetEvent(handle, previous));
        Assert.Equal(0, previous.Value);
        Assert.Equal(STATUS_SUCCESS, ZwResetEvent(handle, previous));
        Assert.Equal(1, previous.Value);
        Assert.False(IsSet(EventOf(handle)));
        ZwSetEvent(handle, default);
        Assert.Equal(STATUS_SUCCESS, ZwClearEvent(handle));
        Assert.False(IsSet(EventOf(handle)));
    });

    [Fact]
    public void What_is_no_event_is_refused() => Run(() =>
    {
        HANDLE directory = Directory();
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwSetEvent(directory, default));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwResetEvent(new HANDLE(0x4444), default));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwOpenEvent(out _, EVENT_ALL_ACCESS, Attributes(@"\Device")));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwCreateEvent(out _, EVENT_ALL_ACCESS, default, (EVENT_TYPE)2, false));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwWaitForSingleObject(directory, false, 0));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwWaitForSingleObject(new HANDLE(0x4444), false, 0));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void Several_handles_can_be_waited_for(Scheduling scheduling) => Run(scheduling, () =>
    {
        var handles = new PHANDLE(Memory(4 * 8).Address);
        for (int i = 0; i < 4; i++) handles[i] = New(null);
        int blocks = Machine.Pool.LiveBlocks.Count;
        Assert.Equal(STATUS_TIMEOUT, ZwWaitForMultipleObjects(4, handles, WaitAny, false, 0));
        ZwSetEvent(handles[2], default);
        Assert.Equal((NTSTATUS)2, ZwWaitForMultipleObjects(4, handles, WaitAny, false, null));
        Assert.Equal(STATUS_TIMEOUT, ZwWaitForMultipleObjects(4, handles, WaitAll, false, -10_000));
        Assert.Equal(blocks, Machine.Pool.LiveBlocks.Count);
        HANDLE last = handles[3];
        handles[3] = Directory();
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwWaitForMultipleObjects(4, handles, WaitAny, false, 0));
        handles[3] = default;
        Assert.Equal(STATUS_INVALID_HANDLE, ZwWaitForMultipleObjects(4, handles, WaitAny, false, 0));
        Assert.Equal(STATUS_INVALID_PARAMETER_1, ZwWaitForMultipleObjects(0, handles, WaitAny, false, 0));
        Assert.Equal(STATUS_INVALID_PARAMETER_1, ZwWaitForMultipleObjects(65, handles, WaitAny, false, 0));
        Assert.Equal((1u, 1u), Counts(last));
        handles[3] = last;
        for (int i = 0; i < 4; i++) ZwSetEvent(handles[i], default);
        Assert.Equal(STATUS_SUCCESS, ZwWaitForMultipleObjects(4, handles, WaitAll, false, null));
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_handle_of_a_thread_can_be_waited_for(Scheduling scheduling) => Run(scheduling, () =>
    {
        PsCreateSystemThread(out HANDLE thread, THREAD_ALL_ACCESS, default, default, default, _ => Step("runs"), default);
        Assert.Equal(STATUS_SUCCESS, ZwWaitForSingleObject(thread, false, null));
        Assert.Equal(["runs"], Steps);
        ZwClose(thread);
    });

    [Theory]
    [InlineData(SynchronizationEvent)]
    [InlineData(NotificationEvent)]
    public void Drivers_share_named_events_which_begin_signalled(EVENT_TYPE type) => Run(() =>
    {
        PUNICODE_STRING name = RTL_CONSTANT_STRING(@"\BaseNamedObjects\Shared");
        PKEVENT Create(out HANDLE handle) => type == SynchronizationEvent ? IoCreateSynchronizationEvent(name, out handle) : IoCreateNotificationEvent(name, out handle);
        PKEVENT first = Create(out HANDLE one);
        Assert.True((long)one.Value < 0);
        Wait(first);
        Assert.Equal(type == NotificationEvent, IsSet(first));
        KeClearEvent(first);
        PKEVENT second = Create(out HANDLE two);
        Assert.Equal(first, second);
        Assert.False(IsSet(second)); // opened, not made anew
        ZwClose(one);
        ZwClose(two);
        Assert.False(Exists(@"\BaseNamedObjects\Shared"));
        name = RTL_CONSTANT_STRING(@"\No\Directory");
        Assert.True(Create(out HANDLE none).IsNull);
        Assert.True(none.IsNull);
    });
}
