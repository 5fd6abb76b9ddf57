using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests;

/// <summary>Goal: what C has and C# lacks works for C# drivers. Method: a test that is a driver uses it.</summary>
public class LanguageTests : DriverTest
{
    [Fact]
    public void A_local_variable_is_zeroed_has_an_address_and_goes_with_its_scope() => Run(() =>
    {
        ulong address;
        using (LocalVariable<KEVENT> done = Local<KEVENT>())
        {
            address = done.Address.Address;
            Assert.All(GuestMemory.Read(address, KEVENT.SizeOf).ToArray(), b => Assert.Equal(0, b));
            KeInitializeEvent(PKEVENT.To(ref done.Value), NotificationEvent, true);
            Assert.Equal(STATUS_SUCCESS, KeWaitForSingleObject(done.Address, Executive, KernelMode, false, 0));
            Assert.True(Machine.Pool.TryFind(address, out _));
        }
        Assert.False(Machine.Pool.TryFind(address, out _));
    });

    [Fact]
    public void Sizes_and_fields_are_found_as_in_C() => Run(() =>
    {
        Assert.Equal((uint)IRP.SizeOf, SizeOf<IRP>());
        PIRP irp = IoAllocateIrp(1, false);
        PLIST_ENTRY entry = PLIST_ENTRY.To(ref irp.Tail.Overlay.ListEntry);
        Assert.Equal(irp, (PIRP)CONTAINING_RECORD(entry, (ref IRP record) => ref record.Tail.Overlay.ListEntry));
    });

    [Fact]
    public void Interlocked_operations_return_what_the_WDK_says()
    {
        int value = 5;
        Assert.Equal(6, InterlockedIncrement(ref value));
        Assert.Equal(5, InterlockedDecrement(ref value));
        Assert.Equal(5, InterlockedExchange(ref value, 7));
        Assert.Equal(7, InterlockedExchangeAdd(ref value, 3));
        Assert.Equal(10, InterlockedCompareExchange(ref value, 1, 10));
        Assert.Equal(1, value);
        long large = 1L << 40;
        Assert.Equal((1L << 40) + 1, InterlockedIncrement64(ref large));
        Assert.Equal(1L << 40, InterlockedDecrement64(ref large));
        Assert.Equal(1L << 40, InterlockedExchangeAdd64(ref large, -1));
        Assert.Equal((1L << 40) - 1, large);
    }
}
