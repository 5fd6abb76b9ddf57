using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Mm;

/// <summary>Goal: a machine sees nothing of the one that had its slice before. Method: dirty every range, give the slice back, look.</summary>
public class SliceReuseTests
{
    const ulong Size = 0x10000;

    [Fact]
    public void A_slice_is_clean_when_it_is_used_again()
    {
        // Other tests take slices meanwhile: try until this one comes back.
        for (int i = 0; i < 1000; i++)
        {
            ulong slice;
            using (var first = new AddressSpace { StacksAreUsed = true })
            {
                slice = first.SliceBase;
                foreach (ulong address in Allocate(first)) GuestMemory.Write(address, (int)Size).Fill(0xAA);
                first.Protect(first.ToSystemMapping(first.NonPagedPool.Start), Size, PageAccess.ReadWrite);
            }
            using var second = new AddressSpace();
            if (second.SliceBase != slice) continue;
            Assert.False(GuestMemory.IsAccessible(second.NonPagedPool.Start, 1, PageAccess.Read));
            Assert.False(GuestMemory.IsAccessible(second.ToSystemMapping(second.NonPagedPool.Start), 1, PageAccess.Read));
            Assert.False(GuestMemory.IsAccessible(second.ToUser(second.User.Start), 1, PageAccess.Read));
            foreach (ulong address in Allocate(second)) Assert.False(GuestMemory.Read(address, (int)Size).ContainsAnyExcept((byte)0));
            return;
        }
        Assert.Fail("The slice never came back.");
    }

    static ulong[] Allocate(AddressSpace memory) =>
    [
        memory.NonPagedPool.Allocate(Size, PageAccess.ReadWrite), memory.PagedPool.Allocate(Size, PageAccess.ReadWrite),
        memory.ThreadAreas.Allocate(Size, PageAccess.ReadWrite), memory.Images.Allocate(Size, PageAccess.ReadWrite),
        memory.DriverData.Allocate(Size, PageAccess.ReadWrite), memory.KernelData.Allocate(Size, PageAccess.ReadWrite),
        memory.AllocateUser(Size),
    ];
}
