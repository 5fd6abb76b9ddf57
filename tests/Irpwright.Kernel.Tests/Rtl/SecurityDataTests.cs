using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public class SecurityDataTests : DriverTest
{
    PVOID Sid(params uint[] subAuthorities)
    {
        PVOID sid = Memory((int)RtlLengthRequiredSid((uint)subAuthorities.Length));
        PUCHAR authority = new(Memory(6).Address);
        GuestMemory.Ref<byte>(authority.Address + 5) = 5;
        Assert.Equal(STATUS_SUCCESS, RtlInitializeSid(sid, authority, (byte)subAuthorities.Length));
        for (int i = 0; i < subAuthorities.Length; i++) RtlSubAuthoritySid(sid, (uint)i).Value = subAuthorities[i];
        return sid;
    }

    [Fact]
    public void SIDs_are_built_measured_copied_and_compared() => Run(() =>
    {
        PVOID sid = Sid(32, 544);
        Assert.Equal([1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0], Bytes(sid, 16));
        Assert.Equal(16u, RtlLengthSid(sid));
        Assert.True(RtlValidSid(sid));
        Assert.False(RtlValidSid(default));
        Assert.Equal(STATUS_INVALID_PARAMETER, RtlInitializeSid(sid, new PUCHAR(sid.Address), 16));
        PVOID copy = Memory(16);
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, RtlCopySid(15, copy, sid));
        Assert.Equal(STATUS_SUCCESS, RtlCopySid(16, copy, sid));
        Assert.True(RtlEqualSid(copy, sid));
        Assert.False(RtlEqualSid(copy, Sid(32, 545)));
        Assert.False(RtlEqualSid(copy, Sid(32)));
    });

    [Fact]
    public void A_list_takes_entries_while_there_is_room() => Run(() =>
    {
        PVOID acl = Memory(32), sid = Sid(18);
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, RtlCreateAcl(acl, 7, 2));
        Assert.Equal(STATUS_INVALID_PARAMETER, RtlCreateAcl(acl, 32, 1));
        Assert.Equal(STATUS_SUCCESS, RtlCreateAcl(acl, 32, 2));
        Assert.Equal(STATUS_INVALID_SID, RtlAddAccessAllowedAce(acl, 2, GENERIC_ALL, Memory(8)));
        Assert.Equal(STATUS_REVISION_MISMATCH, RtlAddAccessAllowedAce(acl, 5, GENERIC_ALL, sid));
        Assert.Equal(STATUS_SUCCESS, RtlAddAccessAllowedAce(acl, 2, 0x12345678, sid));
        Assert.Equal([2, 0, 32, 0, 1, 0, 0, 0, 0, 0, 20, 0, 0x78, 0x56, 0x34, 0x12, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0], Bytes(acl, 28));
        Assert.Equal(STATUS_ALLOTTED_SPACE_EXCEEDED, RtlAddAccessAllowedAce(acl, 2, 1, sid));
        GuestMemory.Ref<ushort>(acl.Address + 4) = 9;
        Assert.Equal(STATUS_INVALID_ACL, RtlAddAccessAllowedAce(acl, 2, 1, sid));
    });

    [Fact]
    public void A_descriptor_gives_back_what_it_was_given() => Run(() =>
    {
        PVOID descriptor = Memory(0x28), sid = Sid(18), acl = Memory(8);
        RtlCreateAcl(acl, 8, 2);
        Fill(descriptor, 0x28);
        Assert.Equal(STATUS_UNKNOWN_REVISION, RtlCreateSecurityDescriptor(descriptor, 2));
        Assert.Equal(STATUS_SUCCESS, RtlCreateSecurityDescriptor(descriptor, 1));
        BOOLEAN present = true, defaulted = false;
        PVOID list = sid;
        Assert.Equal(STATUS_SUCCESS, RtlGetDaclSecurityDescriptor(descriptor, ref present, ref list, ref defaulted));
        Assert.Equal((false, sid), ((bool)present, list));
        Assert.Equal(0x28u, RtlLengthSecurityDescriptor(descriptor));

        Assert.Equal(STATUS_SUCCESS, RtlSetDaclSecurityDescriptor(descriptor, true, acl, true));
        Assert.Equal(STATUS_SUCCESS, RtlSetOwnerSecurityDescriptor(descriptor, sid, false));
        Assert.Equal(STATUS_SUCCESS, RtlSetGroupSecurityDescriptor(descriptor, sid, true));
        Assert.Equal(STATUS_SUCCESS, RtlGetDaclSecurityDescriptor(descriptor, ref present, ref list, ref defaulted));
        Assert.Equal((true, acl, true), ((bool)present, list, (bool)defaulted));
        RtlGetSaclSecurityDescriptor(descriptor, ref present, ref list, ref defaulted);
        Assert.False(present);
        Assert.Equal(STATUS_SUCCESS, RtlGetOwnerSecurityDescriptor(descriptor, out PVOID owner, out defaulted));
        Assert.Equal((sid, false), (owner, (bool)defaulted));
        Assert.Equal(STATUS_SUCCESS, RtlGetGroupSecurityDescriptor(descriptor, out PVOID group, out defaulted));
        Assert.Equal((sid, true), (group, (bool)defaulted));
        Assert.Equal(0x28u + 12 + 12 + 8, RtlLengthSecurityDescriptor(descriptor));
        Assert.True(RtlValidSecurityDescriptor(descriptor));
        GuestMemory.Ref<byte>(sid.Address) = 7;
        Assert.False(RtlValidSecurityDescriptor(descriptor));

        Assert.Equal(STATUS_SUCCESS, RtlSetDaclSecurityDescriptor(descriptor, false, acl, false));
        RtlGetDaclSecurityDescriptor(descriptor, ref present, ref list, ref defaulted);
        Assert.False(present);
        GuestMemory.Ref<byte>(descriptor.Address) = 3;
        Assert.Equal(STATUS_UNKNOWN_REVISION, RtlSetDaclSecurityDescriptor(descriptor, true, acl, false));
    });

    /// <summary>An absolute descriptor with an owner and an empty DACL.</summary>
    PVOID Absolute()
    {
        PVOID descriptor = Memory(0x28), acl = Memory(8);
        RtlCreateAcl(acl, 8, 2);
        RtlCreateSecurityDescriptor(descriptor, 1);
        RtlSetOwnerSecurityDescriptor(descriptor, Sid(18), false);
        RtlSetDaclSecurityDescriptor(descriptor, true, acl, false);
        return descriptor;
    }

    static readonly byte[] Relative =
        [1, 0, 4, 0x80, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, 2, 0, 8, 0, 0, 0, 0, 0];

    /// <summary>The page of RtlAbsoluteToSelfRelativeSD.</summary>
    [Fact]
    public void An_absolute_descriptor_is_put_into_one_piece() => Run(() =>
    {
        PVOID descriptor = Absolute(), copy = Memory(64);
        uint length = 39;
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, RtlAbsoluteToSelfRelativeSD(descriptor, copy, ref length));
        Assert.Equal(40u, length);
        Assert.Equal(STATUS_SUCCESS, RtlAbsoluteToSelfRelativeSD(descriptor, copy, ref length));
        Assert.Equal(Relative, Bytes(copy, 40));
        Assert.Equal(STATUS_BAD_DESCRIPTOR_FORMAT, RtlAbsoluteToSelfRelativeSD(copy, descriptor, ref length));
    });

    [Fact]
    public void A_captured_descriptor_is_a_copy_unless_kernel_mode_is_trusted() => Run(() =>
    {
        PVOID descriptor = Absolute();
        Assert.Equal(STATUS_SUCCESS, SeCaptureSecurityDescriptor(default, UserMode, PagedPool, true, out PVOID captured));
        Assert.True(captured.IsNull);
        Assert.Equal(STATUS_SUCCESS, SeCaptureSecurityDescriptor(descriptor, KernelMode, PagedPool, false, out captured));
        Assert.Equal(descriptor, captured);
        Assert.Equal(STATUS_SUCCESS, SeCaptureSecurityDescriptor(descriptor, KernelMode, PagedPool, true, out captured));
        Assert.NotEqual(descriptor, captured);
        Assert.Equal(Relative, Bytes(captured, 40));
        ExFreePool(captured);
        Assert.Equal(STATUS_ACCESS_VIOLATION, SeCaptureSecurityDescriptor(descriptor, UserMode, PagedPool, false, out captured));
        GuestMemory.Ref<byte>(descriptor.Address) = 2;
        Assert.Equal(STATUS_UNKNOWN_REVISION, SeCaptureSecurityDescriptor(descriptor, KernelMode, PagedPool, true, out captured));
        GuestMemory.Ref<byte>(descriptor.Address) = 1;
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, SeCaptureSecurityDescriptor(descriptor, KernelMode, PagedPool, true, out captured));
        Assert.True(captured.IsNull);
    });

    [Fact]
    public void A_self_relative_descriptor_is_read_and_not_written() => Run(() =>
    {
        PVOID descriptor = Memory(64);
        new byte[] { 1, 0, 0, 0x80, 0x14, 0, 0, 0 }.CopyTo(GuestMemory.Write(descriptor.Address, 8));
        GuestMemory.Ref<ulong>(descriptor.Address + 0x14) = 0x0500000000000101;
        Assert.Equal(STATUS_SUCCESS, RtlGetOwnerSecurityDescriptor(descriptor, out PVOID owner, out _));
        Assert.Equal(descriptor.Address + 0x14, owner.Address);
        Assert.Equal(0x14u + 12, RtlLengthSecurityDescriptor(descriptor));
        Assert.Equal(STATUS_INVALID_SECURITY_DESCR, RtlSetOwnerSecurityDescriptor(descriptor, owner, false));
    });

    [Fact]
    public void Well_known_SIDs_and_privileges_are_exported() => Run(() =>
    {
        Assert.True(RtlEqualSid(SeExports.SeAliasAdminsSid, Sid(32, 544)));
        Assert.True(RtlEqualSid(SeExports.SeLocalSystemSid, Sid(18)));
        Assert.Equal([1, 1, 0, 0, 0, 0, 0, 16, 0, 0x40, 0, 0], Bytes(SeExports.SeSystemMandatorySid, 12));
        Assert.Equal((10ul, 29ul), (SeExports.SeLoadDriverPrivilege, SeExports.SeImpersonatePrivilege));
        Assert.True(Machine.Variables.TryFind("SeExports", out ulong variable));
        Assert.Equal(SeExports.Address, GuestMemory.Ref<ulong>(variable));
    });
}
