"""What tests do with the elements of any page."""

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement


class Page:
    """A page in the browser's current tab."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def element(self, element_id: str) -> WebElement:
        return self.driver.find_element(By.ID, element_id)

    def text(self, element_id: str) -> str:
        return self.element(element_id).text

    def click(self, element_id: str) -> None:
        self.element(element_id).click()

    def write(self, element_id: str, text: str) -> None:
        """Replace what a field holds."""
        field = self.element(element_id)
        field.clear()
        field.send_keys(text)
