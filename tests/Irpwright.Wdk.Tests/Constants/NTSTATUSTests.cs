namespace Irpwright.Wdk.Tests.Constants;

public sealed class NTSTATUSTests
{
    [Theory]
    [InlineData(STATUS_SUCCESS, true, false, false, false)]
    [InlineData(STATUS_PENDING, true, false, false, false)]
    [InlineData(STATUS_OBJECT_NAME_EXISTS, true, true, false, false)]
    [InlineData(STATUS_BUFFER_OVERFLOW, false, false, true, false)]
    [InlineData(STATUS_MORE_PROCESSING_REQUIRED, false, false, false, true)]
    public void Severity_is_the_top_two_bits(NTSTATUS status, bool success, bool information, bool warning, bool error)
    {
        Assert.Equal(success, status.IsSuccess);
        Assert.Equal(information, status.IsInformation);
        Assert.Equal(warning, status.IsWarning);
        Assert.Equal(error, status.IsError);
    }

    [Fact]
    public void A_shared_value_has_its_general_name()
    {
        Assert.Equal("STATUS_SUCCESS", STATUS_CONTINUE_COMPLETION.Name);
        Assert.Equal("STATUS_SUCCESS", STATUS_WAIT_0.Name);
        Assert.Equal("STATUS_MORE_PROCESSING_REQUIRED", STATUS_MORE_PROCESSING_REQUIRED.Name);
    }

    [Fact]
    public void A_code_without_a_name_is_a_number() => Assert.Equal("0xC0FFEE00", ((NTSTATUS)unchecked((int)0xC0FFEE00)).Name);
}
