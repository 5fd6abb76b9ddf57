using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Cm;

public class KeyNotificationTests : RegistryTest
{
    PIO_STATUS_BLOCK block;

    (HANDLE Handle, PKEVENT Event) NewEvent()
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateEvent(out HANDLE handle, EVENT_ALL_ACCESS, default, NotificationEvent, false));
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(handle, EVENT_ALL_ACCESS, ExEventObjectType, KernelMode, out PVOID created, default));
        return (handle, new PKEVENT(created.Address));
    }

    NTSTATUS Watch(HANDLE key, HANDLE signal, uint filter, bool tree = false)
    {
        block = StatusBlock();
        return ZwNotifyChangeKey(key, signal, default(PIO_APC_ROUTINE), default, block, filter, tree, default, 0, true);
    }

    [Theory]
    [InlineData(REG_NOTIFY_CHANGE_LAST_SET, false)]
    [InlineData(REG_NOTIFY_CHANGE_NAME, false)]
    [InlineData(REG_NOTIFY_CHANGE_LAST_SET, true)]
    [InlineData(REG_NOTIFY_CHANGE_NAME, true)]
    public void A_change_that_was_asked_for_sets_the_event_once(uint filter, bool tree) => Run(() =>
    {
        HANDLE key = Create(Path), child = Create("child", key);
        Set(key, "v", REG_BINARY, 1);
        (HANDLE signal, PKEVENT set) = NewEvent();
        Assert.Equal(STATUS_PENDING, Watch(key, signal, filter, tree));
        // What was not asked for, and what is not new.
        Set(key, "v", REG_BINARY, 1);
        if (filter == REG_NOTIFY_CHANGE_LAST_SET) Create("other", key);
        else Set(key, "v", REG_BINARY, 2);
        if (!tree)
        {
            Set(child, "v", REG_BINARY, 1);
            Create("below", child);
        }
        KeDelayExecutionThread(KernelMode, false, -100_000);
        Assert.Equal((false, Untouched), (IsSet(set), block.Status));
        HANDLE target = tree ? child : key;
        if (filter == REG_NOTIFY_CHANGE_LAST_SET) Set(target, "new", REG_BINARY, 1);
        else Create("new", target);
        Wait(set);
        Assert.Equal(STATUS_SUCCESS, block.Status);
        KeClearEvent(set);
        Set(target, "newer", REG_BINARY, 1);
        KeDelayExecutionThread(KernelMode, false, -100_000);
        Assert.False(IsSet(set));
    });

    [Fact]
    public void A_driver_may_have_a_work_item_queued() => Run(() =>
    {
        HANDLE key = Create(Path);
        PWORK_QUEUE_ITEM item = new(Memory(WORK_QUEUE_ITEM.SizeOf).Address);
        PKEVENT done = Event();
        ExInitializeWorkItem(item, WorkerThreadRoutine(context => KeSetEvent(new PKEVENT(context.Address), 0, false)), done);
        PIO_STATUS_BLOCK status = StatusBlock();
        Assert.Equal(STATUS_PENDING, ZwNotifyChangeKey(key, default, new PIO_APC_ROUTINE(item.Address), new PVOID((ulong)DelayedWorkQueue), status,
            REG_NOTIFY_CHANGE_LAST_SET, false, default, 0, true));
        Machine.Registry.SetValue(Machine.Registry.Find(Path)!, "from outside", 1);
        Wait(done);
        Assert.Equal(STATUS_SUCCESS, status.Status);
    });

    [Fact]
    public void A_synchronous_call_waits_for_the_change() => Run(() =>
    {
        HANDLE key = Create(Path);
        KernelThread self = Machine.CurrentThread;
        Start(() =>
        {
            Eventually(() => self.Description is not null);
            Step("set");
            Set(key, "v", REG_BINARY, 1);
        });
        Assert.Equal(STATUS_SUCCESS, ZwNotifyChangeKey(key, default, default(PIO_APC_ROUTINE), default, StatusBlock(), REG_NOTIFY_CHANGE_LAST_SET, false, default, 0, false));
        Assert.Equal(["set"], Steps);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_request_ends_with_its_handle_or_its_key(bool closes) => Run(() =>
    {
        HANDLE key = Create(Path), child = Create("child", key);
        (HANDLE signal, PKEVENT set) = NewEvent();
        Watch(child, signal, REG_NOTIFY_CHANGE_LAST_SET);
        if (closes) ZwClose(child);
        else ZwDeleteKey(child);
        Wait(set);
        Assert.Equal(STATUS_NOTIFY_CLEANUP, block.Status);
    });

    [Fact]
    public void What_is_asked_for_must_make_sense() => Run(() =>
    {
        HANDLE key = Create(Path);
        Assert.Equal(STATUS_INVALID_PARAMETER, Watch(key, default, 0));
        Assert.Equal(STATUS_INVALID_PARAMETER, Watch(key, default, 0x100));
        Assert.Equal(STATUS_INVALID_HANDLE, Watch(new HANDLE(0x9998), default, REG_NOTIFY_CHANGE_NAME));
    });
}
